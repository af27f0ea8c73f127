"""What flows run inside: each stack of tunnels that flows use has a number. The specification of paths.c.

The number is part of a flow's key, so that equal addresses in two tunnels do not meet.
"""

from __future__ import annotations

from flowsonar.flows._reference_tunnels import DIRECTIONAL, Hop, Tunnel

__all__ = ["PATHS", "PATH_FIRST", "Paths"]

PATH_FIRST = 4096
"""Smaller numbers are VLANs without a tunnel."""

PATHS = 1 << 14
"""Tunnels with flows in them at a time; flows of further ones are told by what is around."""

_Inside = tuple[bytes, bytes]
_Node = tuple[int, Tunnel, bytes, bytes, int, int | _Inside]


class _Path:
    """A tunnel inside `parent`; its two sides are in the order of their addresses."""

    __slots__ = ("begun_by", "first", "hop", "inside", "known", "parent", "sides", "users")

    def __init__(self, parent: int, hop: Hop, inside: _Inside) -> None:
        self.parent = parent
        # As the first packet had it.
        self.hop = hop
        self.sides = (min(hop.source, hop.destination), max(hop.source, hop.destination))
        # Identifier on packets from each side, where both directions have one of their own.
        self.known: list[int | None] = [None, None]
        # The inner addresses of the packet that it began with.
        self.inside = inside
        # Flows in it, and paths.
        self.users = 0

    def node(self, direction: int) -> _Node:
        """Name what a direction is found by: its identifier or, while that is not known, what is inside."""
        known = self.known[direction]
        return (self.parent, self.hop.kind, *self.sides, direction, self.inside if known is None else known)


class Paths:
    """All paths in use."""

    def __init__(self) -> None:
        self._paths: dict[int, _Path] = {}
        # Those found by the same are in the order they began: the last one counts.
        self._nodes: dict[_Node, list[int]] = {}
        self._free: list[int] = []
        self._fresh = PATH_FIRST
        self.full = 0

    def enter(self, vlan: int, hops: list[Hop], source: bytes, destination: bytes) -> int:
        """Give the number of a packet's path; one without users goes with `settle`."""
        path = vlan
        inside = (min(source, destination), max(source, destination))
        for hop in hops:
            path = self._enter(path, hop, inside)
        return path

    def use(self, path: int) -> None:
        """Say that a flow opens in it; nothing happens to VLANs."""
        if path >= PATH_FIRST:
            self._paths[path].users += 1

    def drop(self, path: int) -> None:
        """Say that a flow in it closes; a path that nobody uses any more goes, and those around it."""
        if path >= PATH_FIRST:
            self._paths[path].users -= 1
        while path >= PATH_FIRST and not self._paths[path].users:
            gone = self._paths[path]
            for direction in (0, 1):
                self._unlink(gone, direction, path)
            del self._paths[path]
            self._free.append(path)
            path = gone.parent
            if path >= PATH_FIRST:
                self._paths[path].users -= 1

    def hops(self, path: int) -> tuple[Hop, ...]:
        """Give the tunnels as their first packets came, outermost first."""
        found: list[Hop] = []
        while path >= PATH_FIRST:
            found.append(self._paths[path].hop)
            path = self._paths[path].parent
        return tuple(reversed(found))

    def _enter(self, parent: int, hop: Hop, inside: _Inside) -> int:
        wanted = _Path(parent, hop, inside)
        if hop.kind not in DIRECTIONAL:
            wanted.known = [hop.id, hop.id]
            found = self._nodes.get(wanted.node(0))
            return found[-1] if found else self._begin(wanted)
        direction = int(hop.source > hop.destination)
        waiting = wanted.node(direction)
        wanted.known[direction] = hop.id
        found = self._nodes.get(wanted.node(direction))
        if found:
            return found[-1]
        found = self._nodes.get(waiting)
        if not found:
            return self._begin(wanted)
        number = found[-1]
        path = self._paths[number]
        self._unlink(path, direction, number)
        path.known[direction] = hop.id
        self._nodes.setdefault(path.node(direction), []).append(number)
        return number

    def _begin(self, wanted: _Path) -> int:
        if self._free:
            number = self._free.pop()
        elif self._fresh < PATH_FIRST + PATHS:
            number = self._fresh
            self._fresh += 1
        else:
            self.full += 1
            return wanted.parent
        self._paths[number] = wanted
        for direction in (0, 1):
            self._nodes.setdefault(wanted.node(direction), []).append(number)
        self.use(wanted.parent)
        return number

    def _unlink(self, path: _Path, direction: int, number: int) -> None:
        node = path.node(direction)
        numbers = self._nodes[node]
        numbers.remove(number)
        if not numbers:
            del self._nodes[node]
