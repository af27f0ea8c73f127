"""Game servers: Minetest, Teeworlds and DDNet, OpenTTD, Wesnoth, BZFlag, Crossfire, Cube 2, OpenArena."""

from __future__ import annotations

from lab.catalogue.entry import Entry, version_of
from lab.services.base import Client, Service, Site, talk
from lab.truth import Truth

__all__ = ["PROGRAMS"]

_ZEROS = r"\x00" * 508


def _offer(site: Site, name: str, service: str, port: int, client: Client, *, udp: bool, **told: str | None) -> None:
    """One endpoint over IPv4, which all of these speak."""
    site.offer(
        Service(
            name=name,
            transport="udp" if udp else "tcp",
            port=port,
            truth=Truth(service=service),
            clients=(client,),
            families=(4,),
            **told,
        )
    )


def _asks(*texts: str, udp: bool = True, listen: bool = False) -> Client:
    opens = [word for text in texts for word in ("--open", text)]
    heard = ["--listen"] if listen else []
    return talk(*heard, *opens, "--seconds", "1", transport="udp" if udp else "tcp", families=(4,))


def _minetest(site: Site) -> None:
    port, world = site.ports.one(), site.folder("minetest")
    server = ["/usr/lib/minetest/minetestserver", "--port", str(port), "--world", world]
    site.run(*server, "--logfile", world / "log", name="minetest")
    _offer(site, "minetest", "minetest", port, _asks(r"OEt\x03\x00\x00\x00\x03\xff\xdc\x01"), udp=True)


def _teeworlds(site: Site) -> None:
    port = site.ports.one()
    site.run("teeworlds-server", f"sv_port {port}", "sv_register 0")
    client = _asks(r"\x04\x00\x00\xff\xff\xff\xff\x05abcd" + _ZEROS)
    _offer(site, "teeworlds", "teeworlds", port, client, udp=True)


def _ddnet(site: Site) -> None:
    port = site.ports.one()
    site.run("DDNet-Server", f"sv_port {port}", "sv_register 0")
    _offer(site, "ddnet", "teeworlds", port, _asks(r"\xff" * 10 + "gie3a"), udp=True)


def _openttd(site: Site) -> None:
    port = site.ports.one()
    site.run("openttd", "-D", f"{site.address4}:{port}")
    told = {"product": "OpenTTD", "version": version_of(["openttd", "-h"], r"OpenTTD ([0-9.]+)")}
    _offer(site, "openttd", "openttd", port, _asks(r"\x03\x00\x07", udp=False), udp=False, **told)


def _wesnoth(site: Site) -> None:
    port = site.ports.one()
    site.run("wesnothd-1.16", "-p", str(port))
    _offer(site, "wesnoth", "wesnoth", port, _asks(r"\x00\x00\x00\x00", udp=False), udp=False)


def _bzflag(site: Site) -> None:
    port = site.ports.one()
    site.run("bzfs", "-p", str(port), "-i", site.address4)
    _offer(site, "bzflag", "bzflag", port, _asks(r"BZFLAG\r\n\r\n", udp=False), udp=False)


def _crossfire(site: Site) -> None:
    port = site.ports.one()
    site.run("setpriv", "--reuid", "nobody", "--clear-groups", "crossfire-server", "-p", str(port), name="crossfire")
    client = _asks(r"\x00\x0eversion 1 2 lab", udp=False, listen=True)
    _offer(site, "crossfire", "crossfire", port, client, udp=False, product="Crossfire server")


def _cube2(site: Site) -> None:
    port = site.ports.one()
    folder = site.folder("cube2")
    site.run("cube2-server", f"-q{folder}", f"-j{port}", f"-i{site.address4}", "-mlocalhost")
    _offer(site, "cube2", "cube2", port + 1, _asks(r"\x01"), udp=True)


def _openarena(site: Site) -> None:
    port = site.ports.one()
    settings = ["+set", "net_port", str(port), "+set", "dedicated", "1", "+map", "oa_dm1"]
    site.run("openarena-server", *settings, name="openarena")
    _offer(site, "openarena", "quake3", port, _asks(r"\xff\xff\xff\xffgetinfo abc"), udp=True)


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="minetest", start=_minetest, packages=("minetest-server",), program="/usr/lib/minetest/minetestserver"),
    Entry(name="teeworlds", start=_teeworlds, packages=("teeworlds-server",), program="teeworlds-server"),
    Entry(name="ddnet", start=_ddnet, packages=("ddnet-server",), program="DDNet-Server"),
    Entry(name="openttd", start=_openttd, packages=("openttd", "openttd-opengfx")),
    Entry(name="wesnoth", start=_wesnoth, packages=("wesnoth-1.16-server",), program="wesnothd-1.16"),
    Entry(name="bzflag", start=_bzflag, packages=("bzflag-server",), program="bzfs"),
    Entry(name="crossfire", start=_crossfire, packages=("crossfire-server",), program="crossfire-server"),
    Entry(name="cube2", start=_cube2, packages=("cube2-server",), program="cube2-server"),
    Entry(name="openarena", start=_openarena, packages=("openarena-server",), program="openarena-server"),
)
