"""One endpoint in one line: for families of many small programs."""

from __future__ import annotations

from collections.abc import Sequence

from lab.services.base import Client, Service, Site, Target, talk
from lab.truth import CLEAR, TLS, Truth

__all__ = ["endpoint", "program", "says", "through_socat"]


def program(*words: str, families: tuple[int, ...] = (4, 6)) -> Client:
    """A real client: `{address}`, `{host}` (in brackets where it is IPv6) and `{port}` are filled in."""

    def command(target: Target) -> list[str]:
        known = {"address": target.address, "host": target.host, "port": str(target.port)}
        return ["timeout", "5", *(word.format(**known) for word in words)]

    return Client(command=command, families=families)


def says(*texts: str, transport: str = "tcp") -> Client:
    """The laboratory's own client, which says these texts one after the other and listens."""
    words = [word for text in texts for word in ("--open", text)]
    return talk("--listen", *words, transport=transport) if not texts else talk(*words, transport=transport)


def through_socat(site: Site, port: int, command: str, *, user: str = "", name: str = "") -> None:
    """Start a program that speaks on its standard input, once a connection, on IPv4 and IPv6."""
    listen = f"TCP6-LISTEN:{port},ipv6only=0,fork,reuseaddr" + (f",su={user}" if user else "")
    site.run("socat", listen, f"EXEC:{command}", name=name)


def endpoint(
    site: Site,
    name: str,
    port: int,
    service: str,
    clients: Sequence[Client],
    *,
    transport: str = "tcp",
    product: str | None = None,
    version: str | None = None,
    tls: bool = False,
    over: frozenset[str | None] | None = None,
    families: tuple[int, ...] = (4, 6),
) -> None:
    """Offer an endpoint of `service`; `over` where neither plain nor TLS alone is the truth."""
    site.offer(
        Service(
            name=name,
            transport=transport,
            port=port,
            truth=Truth(service=service, over=over if over is not None else TLS if tls else CLEAR),
            clients=tuple(clients),
            families=families,
            product=product,
            version=version,
        )
    )
