"""What was found before, on this host, its network and this port: it moves the order of the next questions.

Nothing here is evidence: a wrong expectation costs a question, and never makes a label.
"""

from __future__ import annotations

from collections import OrderedDict
from operator import itemgetter
from typing import Final

from flowsonar.model import Endpoint
from flowsonar.probes.budget import prefix_of

__all__ = ["PLACES", "Experience"]

PLACES: Final = 1 << 15
"""Hosts, networks and ports remembered, about 400 bytes each; the one longest untouched is forgotten."""
SERVICES: Final = 8
"""Services remembered of one place: those found most."""
EXPECTED: Final = 4
"""Services named for an endpoint."""
FADES: Final = 0.95
"""Each new finding at a place makes the older ones count this much of what they did."""
LEAST: Final = 0.2
"""What counts less is not worth a question."""
FULL: Final = 3.0
"""Findings at a place from which on it is believed in full."""
AGREED: Final = 0.8
"""From this part of the findings on a port (or at the endpoint itself) on, its service is asked for first."""

_TRUST: Final = (4.0, 2.0, 1.0, 0.5)
"""For what was found at the endpoint, its port, its host and its network, as `_places` gives them: the same port over
the other transport says most (peer-to-peer programs, DNS), the network least."""

_Place = tuple[str, str | int, int | str]


class Experience:
    """Bounded, and fading with every new finding; knows no clock."""

    def __init__(self) -> None:
        self._places: OrderedDict[_Place, dict[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def found(self, endpoint: Endpoint, service: str) -> None:
        """An endpoint was identified."""
        places = self._places
        for place in _places(endpoint):
            known = places.get(place)
            if known is None:
                places[place] = {service: 1.0}
                if len(places) > PLACES:
                    places.popitem(last=False)
                continue
            places.move_to_end(place)
            for name in known:
                known[name] *= FADES
            known[service] = known.get(service, 0.0) + 1.0
            if len(known) > SERVICES:
                del known[min(known, key=known.__getitem__)]

    def expected(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Services that are likely there, most likely first; empty where nothing is known."""
        scores: dict[str, float] = {}
        for trust, place in zip(_TRUST, _places(endpoint), strict=True):
            known = self._places.get(place)
            if known is None:
                continue
            total = sum(known.values())
            each = trust / max(FULL, total)
            for service, count in known.items():
                scores[service] = scores.get(service, 0.0) + each * count
        named = [service for service, score in scores.items() if score >= LEAST]
        if len(named) > 1:
            named.sort(key=lambda service: (-scores[service], service))
        return tuple(named[:EXPECTED])

    def here(self, endpoint: Endpoint) -> str | None:
        """What the endpoint was before, or its port elsewhere (the host's other address family): all but always."""
        for place in _places(endpoint)[:2]:
            known = self._places.get(place)
            if known is not None:
                service, count = max(known.items(), key=itemgetter(1))
                return service if count >= AGREED * sum(known.values()) else None
        return None


def _places(endpoint: Endpoint) -> tuple[_Place, ...]:
    transport, address, port = endpoint
    return (
        ("endpoint", address, port),  # of both transports
        ("port", transport.value, port),
        ("host", address, ""),
        ("network", prefix_of(address), ""),
    )
