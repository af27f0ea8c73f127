"""SOCKS proxies."""

from __future__ import annotations

from lab.catalogue.endpoints import endpoint
from lab.catalogue.entry import Entry
from lab.services.base import Site

__all__ = ["PROGRAMS"]

_DANTE = """logoutput: stderr
internal: 0.0.0.0 port = {port}
external: lo
clientmethod: none
socksmethod: none
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks block {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
"""
_CURL = ("curl", "-sS", "-m", "3", "--socks5", "{host}:{port}", "http://127.0.0.1:1/")


def _microsocks(site: Site) -> None:
    port, closed = site.ports.one(), site.ports.one()
    site.run("microsocks", "-i", "::", "-p", str(port))
    endpoint(site, "microsocks", "socks", port, _CURL)
    site.run("microsocks", "-i", "::", "-p", str(closed), "-u", "lab", "-P", "x")
    endpoint(site, "microsocks-password", "socks", closed, (*_CURL, "--proxy-user", "lab:y"))


def _dante(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("dante")
    path = folder / "danted.conf"
    path.write_text(_DANTE.format(port=port))
    site.run("danted", "-f", path, "-p", folder / "pid")
    endpoint(site, "dante", "socks", port, _CURL, families=(4,))


PROGRAMS = (
    Entry(name="microsocks", start=_microsocks, packages=("microsocks",)),
    Entry(name="dante", start=_dante, packages=("dante-server",), program="danted"),
)
