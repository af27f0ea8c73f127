"""A stand-in for a classic Skype node (the network ended years ago), UDP and TCP on one port, IPv4 only."""

from __future__ import annotations

import sys

from lab.services.base import Client, Service, Site, Target
from lab.truth import Truth

__all__ = ["start"]

_MODULE = "flowsonar.demo.skype_standin"


def _visit(*options: str, lasts: bool = False) -> Client:
    def command(target: Target) -> list[str]:
        peer = f"{target.address}:{target.port}"
        return [sys.executable, "-m", _MODULE, "--listen", target.own_address, "--port", "0", "--peer", peer, *options]

    return Client(command=command, lasts=lasts)


def start(site: Site) -> None:
    """Start the node."""
    port = site.ports.one()
    site.python(_MODULE, "--listen", site.address4, "--port", str(port), "--seconds", "3600", name="skype-standin")
    long = ("--seconds", "120", "--call", "60", "--pings", "60")
    site.offer(
        Service(
            name="skype-udp",
            transport="udp",
            port=port,
            truth=Truth(service="skype", peer=True, asks=True),
            clients=(_visit("--call", "3"),),
            sessions=(_visit(*long, lasts=True),),
            families=(4,),
        ),
        Service(  # the visits above come by TCP as well
            name="skype-tcp",
            transport="tcp",
            port=port,
            truth=Truth(service="skype", asks=True),
            clients=(),
            families=(4,),
        ),
    )
