"""The classes that traffic is served in: one table that the firewall's rules and the queues share.

Sources of the DSCP: RFC 4594, RFC 5865 (VOICE-ADMIT), RFC 8622 (LE), and RFC 8325 for what Wi-Fi makes of them: EF goes
to the voice queue there, AF4x and AF3x to video, CS2 and AF2x and DF to best effort, LE (RFC 8622) to background.

**The mark.** Of a connection's and a packet's 32 bits these are ours (`MARK_MASK`, and in connections whose windows are
lowered `SCALE_MASK`, see `windowrules`), the rest is never touched:

    31 ... 26   25      24      23 ... 20       19 ... 16      15 ... 0
    DSCP        other   set     window's shift  class number   other

So `tc ... action ctinfo dscp 0xfc000000 0x01000000` brings the DSCP back on packets that come in, before any rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from flowsonar.model import TrafficClass

__all__ = [
    "CLASS_MASK",
    "DEFAULT_CLASSES",
    "DSCP",
    "DSCP_MASK",
    "LOCAL_MINOR",
    "MAJOR",
    "MARK_MASK",
    "SCALE_MASK",
    "SET_MASK",
    "Classes",
    "ShapedClass",
    "by_name",
    "class_number",
    "dscp_name",
    "mark_dscp",
    "mark_of",
]

DSCP_MASK: Final = 0xFC000000
SET_MASK: Final = 0x01000000
"""Set in every mark of ours: DSCP 0 can be told from no mark."""
SCALE_MASK: Final = 0x00F00000
"""The shift of the connection's window, and one; 0 where it is not known."""
CLASS_MASK: Final = 0x000F0000
MARK_MASK: Final = DSCP_MASK | SET_MASK | CLASS_MASK

MAJOR: Final = 1
"""The queue's handle: priorities are `MAJOR:minor`, which HTB takes for the class without any classifier."""
LOCAL_MINOR: Final = 0xFE
"""For what does not come over the line: between two inside networks, or from the box itself to the inside."""

DSCP: Final[Mapping[str, int]] = {
    "DF": 0,
    "LE": 1,
    **{f"CS{number}": number << 3 for number in range(8)},
    **{f"AF{kind}{drop}": kind << 3 | drop << 1 for kind in range(1, 5) for drop in range(1, 4)},
    "VA": 44,
    "EF": 46,
}
"""Code points by name: RFC 2474 (CS), 2597 (AF), 3246 (EF), 5865 (VA), 8622 (LE)."""

_NAMES: Final[Mapping[int, str]] = {value: name for name, value in DSCP.items() if name != "CS0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapedClass:
    """How one class of traffic is served."""

    name: TrafficClass
    number: int
    """1 is served first. Never changes: it stands in marks that outlive a run."""
    dscp: int
    share: float
    """The least part of the line that it gets when it has something to send, 0 to 1; all of them at most 1."""
    ceiling: float = 1.0
    """The most that it may take of the line while others leave it free, 0 to 1."""
    rate_kbit: int | None = None
    """The least part as a bandwidth; it then stands in place of `share`."""

    @property
    def mark(self) -> int:
        """Our bits of the mark, with the class's own DSCP."""
        return mark_of(self.number, self.dscp)

    @property
    def minor(self) -> int:
        """The queue's class below `MAJOR`."""
        return self.number << 4

    @property
    def priority(self) -> int:
        """The packet priority that puts it into its queue: `MAJOR:minor` as a number."""
        return MAJOR << 16 | self.minor

    @property
    def classid(self) -> str:
        """The same as tc and nft write it: `1:20`."""
        return f"{MAJOR:x}:{self.minor:x}"


Classes = tuple[ShapedClass, ...]

DEFAULT_CLASSES: Final[Classes] = (
    # RFC 4594 gives OAM CS2 and leaves CS6 to routing; names, time and management are of that kind.
    ShapedClass(name=TrafficClass.CONTROL, number=1, dscp=DSCP["CS2"], share=0.05, ceiling=0.5),
    # Telephony. The ceiling keeps a call that is none from starving the rest.
    ShapedClass(name=TrafficClass.REALTIME, number=2, dscp=DSCP["EF"], share=0.30, ceiling=0.9),
    # Low-latency data: shells, remote desktops, mail and pages that somebody waits for.
    ShapedClass(name=TrafficClass.INTERACTIVE, number=3, dscp=DSCP["AF21"], share=0.15),
    # Multimedia streaming.
    ShapedClass(name=TrafficClass.STREAMING, number=4, dscp=DSCP["AF31"], share=0.20),
    ShapedClass(name=TrafficClass.DEFAULT, number=5, dscp=DSCP["DF"], share=0.20),
    # RFC 8622 replaces CS1, which some networks serve before DF.
    ShapedClass(name=TrafficClass.BULK, number=6, dscp=DSCP["LE"], share=0.10),
)


def by_name(classes: Iterable[ShapedClass], name: TrafficClass) -> ShapedClass:
    """Give the class of that name; every table has all six."""
    return next(one for one in classes if one.name is name)


def mark_of(number: int, dscp: int) -> int:
    """Our bits of a mark: the class `number` (1 to 15) and the code point (0 to 63)."""
    assert 0 < number < 16, number
    assert 0 <= dscp < 64, dscp
    return dscp << 26 | SET_MASK | number << 16


def class_number(mark: int) -> int | None:
    """Read the class from a packet's or connection's mark; None where we have not set it."""
    return (mark & CLASS_MASK) >> 16 if mark & SET_MASK else None


def mark_dscp(mark: int) -> int | None:
    """Read the code point from a mark; None where we have not set it."""
    return mark >> 26 & 63 if mark & SET_MASK else None


def dscp_name(value: int) -> str:
    """`46` as `EF`; a value without a name as its number."""
    return _NAMES.get(value, str(value))
