"""The firewall's rules that lower the window in acknowledgements going out: text for `nft -f`, and the maps' elements.

The window's field counts in units that each side announces once, in its SYN (RFC 7323): the shift is written into the
connection's mark there. Later packets look class and shift up in a map, whose verdict leads to the chain
that allows so many units and no more. A field is only ever lowered, and never to zero; connections whose SYN was not
seen, and classes without an element, are left alone. Elements have a short time-out: a program that stands still takes
its hands off the windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from flowsonar.shaping.classes import CLASS_MASK, SCALE_MASK

__all__ = ["OLDER", "SHIFTS", "YOUNG", "key_of", "target_of", "units", "window_maps", "window_rules"]

SHIFTS: Final = range(15)
"""RFC 7323, 2.3: 14 at most."""

YOUNG: Final = "young_windows"
"""The map for connections that have carried less than `_OLD_BYTES`, by class and shift; class 0: without a label."""
OLDER: Final = "windows"
"""The map for all others."""

_OLD_BYTES: Final = 65_536
_KEEP: Final = SCALE_MASK ^ 0xFFFFFFFF
_MOST: Final = 0xFFFF


def _steps() -> Iterator[int]:
    yield from range(1, 4)
    size = 4
    while size <= _MOST:
        yield from (size, size * 5 // 4, size * 3 // 2, size * 7 // 4)
        size *= 2
    yield _MOST


_UNITS: Final = tuple(_steps())


def key_of(number: int, shift: int) -> int:
    """The key for a class (0: none) and a shift, as bits of the mark."""
    return number << 16 | (shift + 1) << 20


def units(octets: int, shift: int) -> int:
    """The window's field for so many bytes: the nearest step that is not below, so that two segments stay two."""
    wanted = max(1, -(-octets >> shift))
    return next((one for one in _UNITS if one >= wanted), _MOST)


def target_of(field: int) -> str:
    """The chain that allows no more than this."""
    return f"window_{field}"


def window_rules(outside: Sequence[str], first: Sequence[str]) -> Iterator[tuple[str, list[str], str | None]]:
    """(name, lines, hook) of each chain; `first` are rules that every packet passes before."""
    for one in _UNITS:
        yield target_of(one), [f"tcp window > {one} tcp window set {one}"], None
    for shift in SHIFTS:
        yield f"shift_{shift}", [f"ct mark set ct mark & {_KEEP:#010x} ^ {shift + 1 << 20:#010x}"], None
    targets = ", ".join(f"{shift} : goto shift_{shift}" for shift in SHIFTS)
    yield "announced", [f"tcp option window count vmap {{ {targets} }}", "tcp option window missing goto shift_0"], None
    names = "{ " + ", ".join(f'"{name}"' for name in outside) + " }"
    key = f"ct mark & {CLASS_MASK | SCALE_MASK:#010x}"
    yield (
        "narrowed",
        [
            *first,
            f"oifname != {names} return",
            "meta l4proto != tcp return",
            "tcp flags & syn == syn goto announced",
            f"ct bytes < {_OLD_BYTES} {key} vmap @{YOUNG}",
            f"ct bytes >= {_OLD_BYTES} {key} vmap @{OLDER}",
        ],
        "postrouting priority 151",
    )
    # A side that announces no shift of its own takes the other's away (RFC 7323, 2.2).
    answered = "tcp flags & (syn | ack) == syn | ack tcp option window missing goto shift_0"
    yield "answered", [*first, f"iifname != {names} return", answered], "prerouting priority -149"


def window_maps() -> Iterator[str]:
    """The maps' lines."""
    for name in (YOUNG, OLDER):
        yield from (f"\tmap {name} {{", "\t\ttype mark : verdict; size 256; flags timeout;", "\t}", "")
