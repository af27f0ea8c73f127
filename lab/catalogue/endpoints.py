"""What the families of data services share: an endpoint with a client that is a command line."""

from __future__ import annotations

from collections.abc import Sequence

from lab.services.base import Client, Site, Target
from lab.services.endpoint import endpoint as offer
from lab.truth import CLEAR

__all__ = ["endpoint", "says"]

_SAY = (
    "import socket, sys; c = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); c.settimeout(2); "
    "c.sendall(bytes.fromhex(sys.argv[3])); c.recv(65536)"
)


def says(message: bytes) -> tuple[str, ...]:
    """A client's command that says `message` and takes the answer: for services that Debian has no client of."""
    return ("python3", "-c", _SAY, "{address}", "{port}", message.hex() or "00")


def endpoint(
    site: Site,
    name: str,
    service: str,
    port: int,
    command: Sequence[str],
    *,
    over: frozenset[str | None] = CLEAR,
    transport: str = "tcp",
    product: str | None = None,
    version: str | None = None,
    families: tuple[int, ...] = (4, 6),
) -> None:
    """Offer a port. `{address}`, `{host}` and `{port}` in the client's `command` are filled in."""

    def filled(target: Target) -> list[str]:
        known = {"{address}": target.address, "{host}": target.host, "{port}": str(target.port)}
        words = list(command)
        for mark, value in known.items():
            words = [word.replace(mark, value) for word in words]
        return words

    client = Client(command=filled, families=families)
    offer(
        site, name, port, service, (client,),
        transport=transport, over=over, product=product, version=version, families=families,
    )  # fmt: skip
