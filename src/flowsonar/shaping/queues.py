"""Which queues a line gets, and where: chosen by what the kernel can do, said with the reason, rendered as text.

A line is an interface to the outside with a bandwidth in each direction. Uploads queue where they leave, on the outside
interface. Downloads come in too late to be queued there, so they queue where they leave towards the inside, or on an
ifb (a device that is nothing but a queue) that they are led through.

| kernel has | uploads | downloads |
|---|---|---|
| CAKE, ifb, ctinfo | CAKE outside | CAKE on an ifb behind it; ctinfo restores the DSCP |
| CAKE | CAKE outside | CAKE on the inside interface; on one ifb behind several |
| HTB | HTB outside, a class each | HTB on the inside interface; on one ifb behind several |
| HTB, ifb, ctinfo, fw | the same | the same, or HTB on an ifb by the connection's mark where no inside is named |

HTB takes a packet's class from its priority, which the firewall's rules set: no classifier is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from flowsonar.errors import ConfigError
from flowsonar.shaping import tc
from flowsonar.shaping.classes import DEFAULT_CLASSES, Classes
from flowsonar.shaping.kernel import Kernel

__all__ = ["Choice", "Discipline", "Line", "QueuePlan", "best", "plan"]

_LEAVES: Final = ("fq_codel", "sfq", "pfifo_head_drop", "pfifo", "bfifo")
"""What can stand below an HTB class, best first."""
_LEAST_KBIT: Final = 64


class Discipline(StrEnum):
    """What queues are made of."""

    AUTO = "auto"
    CAKE = "cake"
    HTB = "htb"
    NONE = "none"
    """Marks only: somebody else queues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line to the outside."""

    wan: str
    """Its interface."""
    up_kbit: int | None = None
    """Bandwidth out; None leaves uploads alone. A little below what the line carries, so that the queue is ours."""
    down_kbit: int | None = None
    """Bandwidth in; likewise."""
    lan: tuple[str, ...] = ()
    """Interfaces to the inside; none on a host that shapes its own traffic."""
    discipline: Discipline = Discipline.AUTO
    overhead: int = 0
    """Bytes that the line adds to every packet (PPPoE 8, VDSL2 with VLAN and PPPoE 34 ...), -64 to 256."""
    atm: bool = False
    """The line carries ATM cells (ADSL): 53 bytes for every 48."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen, and why."""

    what: str
    state: Literal["ok", "slower", "missing"]
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlan:
    """Everything that will be set up, as text; touches nothing."""

    places: tuple[tc.Place, ...]
    """The queues."""
    commands: tuple[tc.Command, ...]
    choices: tuple[Choice, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What was chosen and why, a line each."""
        return tuple(f"{choice.what}: {choice.detail}" for choice in self.choices)

    def text(self) -> str:
        """The commands as a shell would run them, with what was chosen above them."""
        return "".join([*(f"# {reason}\n" for reason in self.reasons), *(f"{one}\n" for one in self.commands)])


def plan(kernel: Kernel, lines: Sequence[Line], classes: Classes = DEFAULT_CLASSES) -> QueuePlan:
    """Choose for these lines. Raises ConfigError for lines that make no sense or that this kernel cannot serve."""
    commands: list[tc.Command] = []
    places: list[tc.Place] = []
    choices: list[Choice] = []
    taken: set[str] = set()
    for number, line in enumerate(lines):
        _check(line)
        discipline = _discipline(kernel, line)
        if discipline is Discipline.NONE:
            choices.append(_no_queues(kernel, line))
            continue
        found, said = _places(kernel, line, discipline, f"fs-ifb{number}")
        choices += said
        for place in found:
            for name in place.egress:
                if name in taken:
                    raise ConfigError(f"{name} would need two queues: give each line an inside interface of its own")
            taken |= set(place.egress)
            places.append(place)
            commands += tc.render(place, classes, kernel.match_all or "")
    return QueuePlan(places=tuple(places), commands=tuple(commands), choices=tuple(choices))


def _check(line: Line) -> None:
    for name, kbit in (("up", line.up_kbit), ("down", line.down_kbit)):
        if kbit is not None and not _LEAST_KBIT <= kbit <= 100_000_000:
            raise ConfigError(f"{line.wan}: {name} {kbit} kbit/s: must be from {_LEAST_KBIT} kbit/s to 100 Gbit/s")
    if not -64 <= line.overhead <= 256:
        raise ConfigError(f"{line.wan}: overhead {line.overhead}: must be from -64 to 256 bytes")
    for name in (line.wan, *line.lan):
        if not name or len(name) > 15 or any(letter.isspace() or letter == "/" for letter in name):
            raise ConfigError(f"{name!r} is no interface's name")
    if line.wan in line.lan:
        raise ConfigError(f"{line.wan} cannot be outside and inside")


def _discipline(kernel: Kernel, line: Line) -> Discipline:
    wanted = line.discipline
    if wanted is Discipline.AUTO:
        best_there = (one for one in (Discipline.CAKE, Discipline.HTB) if one in kernel.qdiscs)
        return next(best_there, Discipline.NONE)
    if wanted is not Discipline.NONE and wanted not in kernel.qdiscs:
        has = ", ".join(sorted(kernel.qdiscs & {"cake", "htb"})) or "neither CAKE nor HTB"
        raise ConfigError(f"{line.wan}: this kernel has no {wanted}; it has {has} (see flowsonar doctor)")
    return wanted


def _no_queues(kernel: Kernel, line: Line) -> Choice:
    if line.discipline is Discipline.NONE:
        return Choice(what=line.wan, state="ok", detail="no queues, as wanted: packets are marked only")
    why = kernel.problem or "this kernel has neither CAKE nor HTB"
    return Choice(what=line.wan, state="missing", detail=f"no queues ({why}): packets are marked only")


def _leaf(kernel: Kernel) -> str:
    return next((name for name in _LEAVES if name in kernel.qdiscs), "")


def _built_of(kernel: Kernel, discipline: Discipline) -> str:
    if discipline is Discipline.CAKE:
        return "CAKE diffserv4, which sorts by DSCP"
    leaf = _leaf(kernel)
    without = "" if "cake" in kernel.qdiscs else "no CAKE in this kernel, so "
    below = f", {leaf} below each" if leaf else ""
    return f"{without}HTB with a class each, chosen by packet priority{below}"


def _places(
    kernel: Kernel, line: Line, discipline: Discipline, device: str
) -> tuple[list[tc.Place], tuple[Choice, ...]]:
    built = _built_of(kernel, discipline)
    places: list[tc.Place] = []
    choices: list[Choice] = []

    def add(place: tc.Place, why: str) -> None:
        places.append(place)
        state: Literal["ok", "slower"] = "ok" if discipline is Discipline.CAKE or place.leaf == "fq_codel" else "slower"
        choices.append(Choice(what=f"{line.wan} {place.direction}", state=state, detail=why))

    common = tc.Common(
        discipline=str(discipline),
        leaf=_leaf(kernel),
        overhead=line.overhead,
        atm=line.atm,
        outside=line.wan,
        inside=line.lan,
    )
    if line.up_kbit is not None:
        way = tc.Way.OUT
        up = tc.Place(device=line.wan, direction="up", kbit=line.up_kbit, way=way, egress=(line.wan,), common=common)
        add(up, f"{line.up_kbit} kbit/s, {built}")
    if line.down_kbit is None:
        return places, tuple(choices)
    found = _download(kernel, line, discipline)
    if found is None:
        detail = _why_not(kernel, line)
        choices.append(Choice(what=f"{line.wan} down", state="missing", detail=detail))
        return places, tuple(choices)
    way, why = found
    target = line.lan[0] if way is tc.Way.IN else device
    egress = line.lan if way in {tc.Way.IN, tc.Way.IN_IFB} else ()
    down = tc.Place(device=target, direction="down", kbit=line.down_kbit, way=way, egress=egress, common=common)
    add(down, f"{line.down_kbit} kbit/s {why}, {built}")
    return places, tuple(choices)


def _download(kernel: Kernel, line: Line, discipline: Discipline) -> tuple[tc.Way, str] | None:
    """Where downloads queue."""
    if kernel.restores and discipline is Discipline.CAKE:
        return tc.Way.OUT_IFB, f"on an ifb behind {line.wan}, DSCP restored from the connection"
    if len(line.lan) == 1:
        return tc.Way.IN, f"where they leave to {line.lan[0]}"
    if line.lan and kernel.redirects:
        return tc.Way.IN_IFB, f"on one ifb for {', '.join(line.lan)}"
    if not line.lan and kernel.restores and "fw" in kernel.filters:
        return tc.Way.OUT_IFB, f"on an ifb behind {line.wan}, class by the connection's mark"
    return None


def _why_not(kernel: Kernel, line: Line) -> str:
    if line.lan:
        return "not queued: several inside interfaces need ifb, clsact, mirred and a classifier (see flowsonar doctor)"
    lacks = sorted(
        name
        for name, there in {
            "ifb": kernel.ifb,
            "clsact": kernel.clsact,
            "mirred": "mirred" in kernel.actions,
            "ctinfo": "ctinfo" in kernel.actions,
        }.items()
        if not there
    )
    lacking = f", and this kernel lacks {', '.join(lacks)}" if lacks else ""
    return f"not queued: no inside interface was named{lacking}; name it where this machine forwards"


def best(kernel: Kernel) -> tuple[Choice, ...]:
    """What `shape` would choose on this kernel: for a gateway, and for a host's own traffic."""
    found = []
    for what, lan in (("shape on a gateway", ("inside",)), ("shape on a host", ())):
        choices = plan(kernel, [Line(wan="outside", up_kbit=5000, down_kbit=20000, lan=lan)]).choices
        state: Literal["ok", "slower", "missing"] = "ok"
        if any(choice.state != "ok" for choice in choices):
            state = "missing" if all(choice.state == "missing" for choice in choices) else "slower"
        parts = (f"{choice.what.removeprefix('outside ')} {_without_rate(choice.detail)}" for choice in choices)
        found.append(Choice(what=what, state=state, detail="; ".join(parts)))
    return tuple(found)


def _without_rate(detail: str) -> str:
    return detail.removeprefix("5000 kbit/s, ").removeprefix("20000 kbit/s ")
