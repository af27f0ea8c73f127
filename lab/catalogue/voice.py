"""Calls: coturn with its clients, Mumble's server."""

from __future__ import annotations

from lab.catalogue.entry import Entry, version_of
from lab.services.base import Client, Service, Site, Target, talk
from lab.truth import TLS, Truth

__all__ = ["PROGRAMS"]


def _coturn(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("coturn")
    listen = ["-S", "-L", site.address4, "-L", site.address6, "-p", str(port), "--relay-ip", site.address4]
    users = ["--lt-cred-mech", "--user", "lab:lab", "--realm", "lab.example", "--no-cli", "--no-tls", "--no-dtls"]
    site.run("turnserver", "-n", *listen, *users, "--db", folder / "db", "--pidfile", folder / "pid", "-l", "stdout")
    version = version_of(["turnserver", "--version"], r"([0-9]+\.[0-9]+\.[0-9]+)")

    def asks(target: Target) -> list[str]:
        return ["turnutils_stunclient", "-p", str(target.port), target.address]

    def relays(target: Target) -> list[str]:
        user = ["-u", "lab", "-w", "lab", "-y", "-n", "5"]
        return ["timeout", "5", "turnutils_uclient", *user, "-p", str(target.port), target.address]

    site.offer(
        Service(
            name="coturn",
            transport="udp",
            port=port,
            truth=Truth(service="stun"),
            clients=(Client(command=asks, families=(4,)),),
            families=(4,),
            product="Coturn",
            version=version,
        )
    )
    other = site.ports.one()
    listen = ["-L", site.address4, "-L", site.address6, "-p", str(other), "--relay-ip", site.address4]
    site.run("turnserver", "-n", *listen, *users, "--db", folder / "db2", "--pidfile", folder / "pid2", "-l", "stdout")
    site.offer(
        Service(
            name="coturn-relay",
            transport="udp",
            port=other,
            truth=Truth(service="turn"),
            clients=(Client(command=relays, families=(4,)),),
            families=(4,),
            product="Coturn",
            version=version,
        )
    )


def _mumble(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("mumble")
    (folder / "ini").write_text(
        f"database={folder}/db.sqlite\nhost={site.address4}\nport={port}\nbonjour=False\nuname=root\n"
        f"sslCert={site.certificate}\nsslKey={site.certificate}\n"
    )
    site.run("murmurd", "-fg", "-ini", folder / "ini")
    ping = talk("--open", r"\x00\x00\x00\x00labora01", "--seconds", "1", transport="udp", families=(4,))
    truth = Truth(service="mumble")
    site.offer(Service(name="mumble-udp", transport="udp", port=port, truth=truth, clients=(ping,), families=(4,)))
    site.offer(
        Service(
            name="mumble-tls",
            transport="tcp",
            port=port,
            truth=Truth(service="mumble", over=TLS),
            clients=(talk("--listen", "--seconds", "1", transport="tls", families=(4,)),),
            families=(4,),
            product="Mumble server",
            version=version_of(["murmurd", "-version"], r"([0-9]+\.[0-9]+\.[0-9]+)"),
        )
    )


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="coturn", start=_coturn, packages=("coturn",), program="turnserver"),
    Entry(name="mumble", start=_mumble, packages=("mumble-server",), program="murmurd"),
)
