"""The commands that set up one queue, and those that take it away: text, for people and for `tc -batch` alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from flowsonar.model import TrafficClass
from flowsonar.shaping.classes import (
    CLASS_MASK,
    DSCP_MASK,
    LOCAL_MINOR,
    MAJOR,
    SET_MASK,
    Classes,
    ShapedClass,
    by_name,
)

__all__ = [
    "GLUED_KBIT",
    "PREFERENCE",
    "Command",
    "Common",
    "Place",
    "Way",
    "delay_bound_ms",
    "failed_lines",
    "handle",
    "leaf_words",
    "render",
    "root_class",
]

PREFERENCE: Final = 49_000
"""Of our filters: behind those that somebody else has on the same interface."""
GLUED_KBIT: Final = 300_000
"""Below this, 64 KiB sent at a time take longer than 2 ms: packets are then not glued together."""
_FRAME: Final = 1514
_FAILED: Final = re.compile(r"^Command failed -:(\d+)", re.MULTILINE)
_LOCAL_KBIT: Final = 100_000_000
"""What does not come over the line is not shaped."""


class Way(StrEnum):
    """How traffic comes to a queue."""

    OUT = "out"
    """It leaves by the outside interface."""
    IN = "in"
    """It leaves by the only inside interface."""
    IN_IFB = "in-ifb"
    """It leaves by one of several inside interfaces, and is led through an ifb."""
    OUT_IFB = "out-ifb"
    """It has come in by the outside interface, and is led through an ifb before the firewall sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What the queues of a line have in common."""

    discipline: str
    leaf: str
    overhead: int
    atm: bool
    outside: str
    inside: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One queue."""

    device: str
    """Where the queue is."""
    direction: Literal["up", "down"]
    kbit: int
    way: Way
    egress: tuple[str, ...]
    """Interfaces whose outgoing traffic it takes."""
    common: Common

    @property
    def leaf(self) -> str:
        """What stands below each HTB class; nothing with CAKE."""
        return self.common.leaf if self.common.discipline == "htb" else ""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `program` and its words."""

    program: Literal["tc", "ip", "ethtool"]
    words: str

    def __str__(self) -> str:
        """As a shell runs it."""
        return f"{self.program} {self.words}"


def failed_lines(errors: str) -> frozenset[int]:
    """The numbers of the lines that `tc -force -batch -` could not carry out, of what it wrote to standard error."""
    return frozenset(int(number) for number in _FAILED.findall(errors))


def handle(place: Place) -> str:
    """The queue's handle: by it `tc qdisc show` tells that it is ours."""
    # CAKE takes priorities below its own handle for its tins: those are HTB's.
    return f"{MAJOR:x}:" if place.common.discipline == "htb" else f"{MAJOR + 0xF0:x}:"


def delay_bound_ms(one: ShapedClass) -> int:
    """How much may wait in a plain queue, as time at the class's ceiling.

    Short, but long enough for a few packets of each of some dozen downloads. Where it was longer, each new download
    filled it before a packet was lost, and all the while the queue at the other end of the line grew too, where the
    call waits: with 400 ms here the call waited 150 ms there, with 60 ms some 10 (`make lab-shaping`).
    """
    return {TrafficClass.CONTROL: 200, TrafficClass.INTERACTIVE: 200}.get(one.name, 60)


def leaf_words(leaf: str, kbit: int, bound_ms: int) -> str:
    """The queue below an HTB class of `kbit` at most."""
    packets = max(16, min(10_000, kbit * bound_ms // 8 // _FRAME))
    if leaf == "fq_codel":
        # Below some 4 Mbit/s one packet takes longer than CoDel's 5 ms: it would drop what cannot be faster.
        target_us = max(5_000, _FRAME * 8 * 1500 // kbit)
        return (
            f"fq_codel limit {max(packets, 256)} target {target_us}us interval {100_000 + target_us}us quantum 300 ecn"
        )
    if leaf == "sfq":
        return f"sfq limit {min(packets, 127)} perturb 10"
    if leaf == "bfifo":
        return f"bfifo limit {packets * _FRAME}"
    return f"{leaf} limit {packets}"


def root_class(device: str, kbit: int, now_kbit: int) -> str:
    """The HTB class that all others of a queue of `kbit` borrow from, at a rate of `now_kbit`; and its limits."""
    return f"dev {device} parent {MAJOR:x}: classid {MAJOR:x}:1 htb rate {now_kbit}kbit {_limits(kbit)}"


def _limits(kbit: int) -> str:
    # Two packets or a millisecond and a half: less and the timer cannot keep up, more and a burst waits in the line.
    burst = max(2 * _FRAME, kbit * 3 // 16)
    return f"burst {burst} cburst {burst}"


def render(place: Place, classes: Classes, match_all: str) -> list[Command]:
    """All commands for one queue; `match_all` are the words of a classifier that takes every packet."""
    commands: list[Command] = []
    if place.way in {Way.IN_IFB, Way.OUT_IFB}:
        commands.append(Command("ip", f"link add name {place.device} type ifb"))
        commands.append(Command("ip", f"link set dev {place.device} up"))
    if place.common.discipline == "cake":
        commands.append(_cake(place))
    else:
        commands += _unglued(place)
        commands += _htb(place, classes)
    # Packets are led through the queue only when it is there.
    if place.way is Way.IN_IFB:
        for name in place.egress:
            commands.append(Command("tc", f"qdisc add dev {name} clsact"))
            commands.append(Command("tc", f"filter add dev {name} egress {_led(place, match_all)}"))
    elif place.way is Way.OUT_IFB:
        name = place.common.outside
        restore = f"action ctinfo dscp {DSCP_MASK:#x} {SET_MASK:#x} cpmark {CLASS_MASK:#x} "
        commands.append(Command("tc", f"qdisc add dev {name} clsact"))
        commands.append(Command("tc", f"filter add dev {name} ingress {_led(place, match_all, restore)}"))
    return commands


def _unglued(place: Place) -> list[Command]:
    if place.kbit >= GLUED_KBIT:
        return []
    devices = sorted({place.common.outside, *place.common.inside})
    return [Command("ethtool", f"-K {device} {name} off") for device in devices for name in ("gro", "gso", "tso")]


def _led(place: Place, match_all: str, before: str = "") -> str:
    redirect = f"action mirred egress redirect dev {place.device}"
    return f"prio {PREFERENCE} protocol all {match_all} {before}{redirect}"


def _cake(place: Place) -> Command:
    words = [f"qdisc replace dev {place.device} root handle {handle(place)} cake bandwidth {place.kbit}kbit diffserv4"]
    words.append("nat" if place.way in {Way.OUT, Way.OUT_IFB} else "nonat")
    words.append("dual-srchost" if place.direction == "up" else "dual-dsthost ingress")
    if place.common.overhead:
        words.append(f"overhead {place.common.overhead}")
    if place.common.atm:
        words.append("atm")
    return Command("tc", " ".join(words))


def _htb(place: Place, classes: Classes) -> list[Command]:
    device, kbit = place.device, place.kbit
    default = by_name(classes, TrafficClass.DEFAULT)
    size = ""
    if place.common.overhead or place.common.atm:
        kind = "atm" if place.common.atm else "ethernet"
        size = f" stab overhead {place.common.overhead} linklayer {kind}"
    limits = _limits(kbit)
    commands = [
        Command("tc", f"qdisc replace dev {device} root handle {MAJOR:x}:{size} htb default {default.minor:x}"),
        Command("tc", f"class add {root_class(device, kbit, kbit)}"),
    ]
    for one in classes:
        ceiling = max(8, int(kbit * one.ceiling))
        least = kbit * one.share if one.rate_kbit is None else min(one.rate_kbit, ceiling)
        rate = f"rate {max(8, int(least))}kbit ceil {ceiling}kbit"
        served = f"prio {min(one.number - 1, 7)} quantum {_FRAME}"
        parent = f"parent {MAJOR:x}:1 classid {one.classid}"
        commands.append(Command("tc", f"class add dev {device} {parent} htb {rate} {limits} {served}"))
        if place.leaf:
            below = leaf_words(place.leaf, ceiling, delay_bound_ms(one))
            commands.append(
                Command("tc", f"qdisc add dev {device} parent {one.classid} handle {0x100 + one.minor:x}: {below}")
            )
        if place.way is Way.OUT_IFB:
            chosen = f"handle {one.number << 16:#x}/{CLASS_MASK:#x} fw flowid {one.classid}"
            commands.append(
                Command("tc", f"filter add dev {device} parent {MAJOR:x}: protocol all prio {one.number} {chosen}")
            )
    if place.way in {Way.IN, Way.IN_IFB}:
        local = f"classid {MAJOR:x}:{LOCAL_MINOR:x} htb rate {_LOCAL_KBIT}kbit quantum {60_000}"
        commands.append(Command("tc", f"class add dev {device} parent {MAJOR:x}: {local}"))
    return commands
