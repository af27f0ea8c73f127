"""The firewall table that puts labels on packets, as text for `nft -f`: rendered here, applied elsewhere.

How a packet passes it:

- **prerouting and output** (`seek`): the flow's own tuple, then (while its connection has no mark) its endpoint, are
  looked up in maps that verdicts fill. A hit writes our bits of the connection's mark. That is done once more behind
  NAT, for connections that NAT has changed, so it does not matter on which side of it the flow was seen.
- **postrouting** (`serve`): the connection's mark gives packet mark, DSCP and the priority that picks the queue's
  class, for both directions: what comes back belongs to the same connection.

The maps' values are `mark bits 31-16 : minor of the class` as nft writes a tc class (`b902:20`), because the packet's
priority is the one place where a value from a map can stand while it is looked at; it is set anew before the queue.

Everything asks the set `alive` first. Its two elements time out and the running program refreshes them, so that a
program that was killed marks nothing any more after `ALIVE_S`. No rule here drops or accepts for others: the policy is
accept, and other tables see every packet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from flowsonar.model import TrafficClass
from flowsonar.shaping.classes import (
    CLASS_MASK,
    DEFAULT_CLASSES,
    DSCP_MASK,
    LOCAL_MINOR,
    MAJOR,
    MARK_MASK,
    SET_MASK,
    ShapedClass,
    by_name,
    dscp_name,
    mark_of,
)
from flowsonar.shaping.windowrules import window_maps, window_rules

__all__ = [
    "ALIVE_S",
    "CLEAR",
    "COMMENT",
    "CONNECTIONS",
    "FAMILY",
    "LEFT",
    "LEFT_MARK",
    "MAPS",
    "TABLE",
    "Rules",
    "Treatment",
    "render",
]

FAMILY: Final = "inet"
TABLE: Final = "flowsonar"
COMMENT: Final = "made by flowsonar shape"
"""The table's comment: a table of that name without it is somebody else's, and is left alone."""

ALIVE_S: Final = 30
"""How long the rules mark after the program was killed."""

ELEMENTS: Final = 262_144
"""Room in each map: 100,000 flows in both directions, and some."""

CLEAR: Final = 0x0002_0001
"""The map value that takes our mark away again: a label was taken back. No class has it (`SET_MASK` is not in it)."""

LEFT_MARK: Final = mark_of(15, 0)
LEFT: Final = LEFT_MARK | 1
"""The map value for flows that a rule leaves as they are: a mark that nothing serves, not even as unknown."""

CONNECTIONS: Final = ("tcp", "udp", "sctp")
"""Transports whose flows can be marked one by one: they have ports."""

MAPS: Final = ("flows", "endpoints", "peers")
"""Maps by what they are keyed with; each exists for IPv4 (`flows4`) and IPv6 (`flows6`)."""

_FAMILIES: Final = (("4", "ip", "ipv4_addr"), ("6", "ip6", "ipv6_addr"))
_ACKNOWLEDGEMENT: Final = 100
"""Bytes below which a TCP packet is taken for a bare acknowledgement (72 with IPv6 and time stamps): among data of its
own direction it would wait, or be lost, and hold up the other direction; then many come at once, and the burst that
they ask for waits beyond the line."""

_HASTENED: Final = by_name(DEFAULT_CLASSES, TrafficClass.INTERACTIVE)
"""Whose queue acknowledgements of the classes behind it take."""

_KEEP: Final = MARK_MASK ^ 0xFFFFFFFF

_SYSTEM_PRIORITIES: Final = {
    TrafficClass.CONTROL: "0:6",
    TrafficClass.REALTIME: "0:6",
    TrafficClass.INTERACTIVE: "0:6",
    TrafficClass.STREAMING: "0:4",
    TrafficClass.DEFAULT: "none",
    TrafficClass.BULK: "0:2",
}
"""Without queues of ours: what Linux itself makes of the old type of service, TC_PRIO_* in linux/pkt_sched.h."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """A class with the code point that its packets get: a class's own, or the one a rule of the policy gives."""

    shaped: ShapedClass
    dscp: int

    @property
    def mark(self) -> int:
        """Our bits of the mark."""
        return mark_of(self.shaped.number, self.dscp)

    @property
    def value(self) -> int:
        """The value in the maps."""
        return self.mark | self.shaped.minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the table is made of."""

    treatments: tuple[Treatment, ...]
    unknown: Treatment | None = None
    """What packets get whose connection has no mark; None leaves them as they are."""
    exempt: tuple[str, ...] = ()
    """Networks in CIDR notation whose packets are never touched."""
    outside: tuple[str, ...] = ()
    """Interfaces that the line is behind."""
    inside: tuple[str, ...] = ()
    """Interfaces whose queues shape what the line brings: what comes from elsewhere must not be held there."""
    windows: bool = False
    """Room for lowering the windows of downloads: see `windowrules`."""
    mark_only: bool = False
    """No queues of ours: the priority is one that the system's own queues know."""


def render(rules: Rules) -> str:
    """Give the table as a script for `nft -f`, without any element that verdicts bring."""
    treatments = _distinct(rules)
    body: list[str] = [f'\tcomment "{COMMENT}"', ""]
    body += [f"\tcounter {name} {{ }}" for name in sorted({one.shaped.name.value for one in treatments})]
    body += [
        "",
        "\tset alive {",
        "\t\ttype nf_proto; flags timeout;",
        f"\t\telements = {{ ipv4 timeout {ALIVE_S}s, ipv6 timeout {ALIVE_S}s }}",
        "\t}",
        "",
    ]
    for number, _, kind in _FAMILIES:
        one = f"inet_proto . {kind} . inet_service"
        body += _map(f"flows{number}", f"{one} . {kind} . inet_service")
        body += _map(f"endpoints{number}", one)
        body += _map(f"peers{number}", one)
        networks = [network for network in rules.exempt if (":" in network) == (number == "6")]
        if networks:
            body += [f"\tset exempt{number} {{", f"\t\ttype {kind}; flags interval; auto-merge;"]
            body += [f"\t\telements = {{ {', '.join(networks)} }}", "\t}", ""]
    for treatment in treatments:
        body += _chain(_name("take", treatment), [f"ct mark set ct mark & {_KEEP:#010x} ^ {treatment.mark:#010x}"])
        body += _chain(_name("serve", treatment), _serving(treatment, mark_only=rules.mark_only))
    body += _chain("clear", [f"ct mark set ct mark & {_KEEP:#010x}", "meta priority set none"])
    left = f"ct mark set ct mark & {_KEEP:#010x} ^ {LEFT_MARK:#010x}"
    body += _chain("leave", [left, "meta priority set none"])
    targets = [f"{_classid(one.value)} : goto {_name('take', one)}" for one in treatments]
    targets += [f"{_classid(CLEAR)} : goto clear", f"{_classid(LEFT)} : goto leave"]
    body += _chain("take", [f"meta priority vmap {{ {', '.join(targets)} }}"])
    body += _chain("seek", _seeking(rules, treatments))
    alive, known = "meta nfproto != @alive return", "ct state invalid,untracked return"
    body += _chain("arriving", [alive, 'iifname "lo" return', known, "goto seek"], hook="prerouting priority mangle")
    body += _chain("leaving", [alive, 'oifname "lo" return', known, "goto seek"], hook="output priority mangle")
    served = [alive, 'oifname "lo" return', *_served(rules, treatments)]
    body += _chain("served", served, hook="postrouting priority 150")
    if rules.windows and rules.outside:
        body += window_maps()
        for name, lines, hook in window_rules(rules.outside, [alive, *_exempting(rules)]):
            body += _chain(name, lines, hook=hook)
    return "\n".join([f"table {FAMILY} {TABLE} {{", *body[:-1], "}", ""])


def _distinct(rules: Rules) -> list[Treatment]:
    extra = (rules.unknown,) if rules.unknown is not None else ()
    return sorted({one.mark: one for one in (*rules.treatments, *extra)}.values(), key=lambda one: one.mark)


def _map(name: str, key: str) -> list[str]:
    return [f"\tmap {name} {{", f"\t\ttype {key} : classid; size {ELEMENTS}; flags timeout;", "\t}", ""]


def _chain(name: str, lines: Iterable[str], hook: str | None = None) -> list[str]:
    head = [f"\t\ttype filter hook {hook}; policy accept;"] if hook else []
    return [f"\tchain {name} {{", *head, *(f"\t\t{line}" for line in lines), "\t}", ""]


def _name(what: str, treatment: Treatment) -> str:
    return f"{what}_{treatment.shaped.name}_{dscp_name(treatment.dscp).lower()}"


def _serving(treatment: Treatment, *, mark_only: bool) -> list[str]:
    shaped = treatment.shaped
    priority = _SYSTEM_PRIORITIES[shaped.name] if mark_only else shaped.classid
    return [
        f"counter name {treatment.shaped.name}",
        f"meta mark set meta mark & {_KEEP:#010x} ^ {treatment.mark:#010x}",
        f"ip dscp set {treatment.dscp:#04x}",
        f"ip6 dscp set {treatment.dscp:#04x}",
        f"meta priority set {priority}",
        *([_hastened()] if shaped.number > _HASTENED.number and not mark_only else ()),
    ]


def _hastened() -> str:
    return f"meta l4proto tcp meta length < {_ACKNOWLEDGEMENT} meta priority set {_HASTENED.classid}"


def _exempting(rules: Rules) -> Iterable[str]:
    for number, family, _ in _FAMILIES:
        if any((":" in network) == (number == "6") for network in rules.exempt):
            yield f"{family} saddr @exempt{number} return"
            yield f"{family} daddr @exempt{number} return"


def _seeking(rules: Rules, treatments: list[Treatment]) -> Iterable[str]:
    """Rules from packet to connection mark; each ends where its map does not have the key."""
    yield from _exempting(rules)
    for number, family, _ in _FAMILIES:
        key = f"meta l4proto . {family} saddr . th sport . {family} daddr . th dport"
        yield f"meta priority set {key} map @flows{number} goto take"
    marks = ", ".join(f"{mark:#010x}" for mark in (*(one.mark for one in treatments), LEFT_MARK))
    yield f"ct mark & {MARK_MASK:#010x} {{ {marks} }} return"
    for number, family, _ in _FAMILIES:
        to, back = (f"meta l4proto . {family} {side}addr . th {side}port" for side in "ds")
        yield f"ct direction original meta priority set {to} map @endpoints{number} goto take"
        yield f"ct direction original meta priority set {back} map @peers{number} goto take"
        yield f"ct direction reply meta priority set {back} map @endpoints{number} goto take"
        yield f"ct direction reply meta priority set {to} map @peers{number} goto take"


def _served(rules: Rules, treatments: list[Treatment]) -> Iterable[str]:
    """Rules from connection mark to packet."""
    yield from _exempting(rules)
    yield "ct status snat,dnat jump seek"
    if not rules.mark_only:
        yield _hastened()  # of connections without a mark; a mark's class follows
    if treatments:
        targets = ", ".join(f"{one.mark:#010x} : jump {_name('serve', one)}" for one in treatments)
        yield f"ct mark & {MARK_MASK:#010x} vmap {{ {targets} }}"
    if rules.unknown is not None:
        yield f"ct mark & {SET_MASK:#010x} == 0 jump {_name('serve', rules.unknown)}"
    if rules.inside and not rules.mark_only:
        inside, outside = (", ".join(f'"{name}"' for name in names) for names in (rules.inside, rules.outside))
        local = f"{MAJOR:x}:{LOCAL_MINOR:x}"
        yield f"oifname {{ {inside} }} iifname != {{ {outside} }} meta priority set {local}"


def _classid(value: int) -> str:
    return f"{value >> 16:x}:{value & 0xFFFF:x}"


assert not CLEAR & (DSCP_MASK | SET_MASK)
assert CLEAR & CLASS_MASK  # a major number of 0 cannot be written
