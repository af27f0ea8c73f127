"""Redis."""

from __future__ import annotations

from pathlib import Path

from lab.services.base import Client, Service, Site, Target
from lab.truth import Truth

__all__ = ["start"]


def _redis_cli(*words: str, lasts: bool = False) -> Client:
    def command(target: Target) -> list[str]:
        return ["redis-cli", "-h", target.address, "-p", str(target.port), *words]

    return Client(command=command, lasts=lasts)


def start(site: Site) -> None:
    """Start the server."""
    port = site.ports.one()
    folder = site.folder("redis")
    settings: list[str | Path] = ["--bind", "0.0.0.0", "::", "--protected-mode", "no", "--save", "", "--dir", folder]
    site.run("redis-server", "--port", str(port), *settings)
    site.offer(
        Service(
            name="redis",
            transport="tcp",
            port=port,
            truth=Truth(service="redis"),
            clients=(_redis_cli("PING"),),
            sessions=(_redis_cli("-r", "1000", "-i", "0.3", "PING", lasts=True),),
        )
    )
