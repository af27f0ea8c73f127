"""Remote desktops and terminals: xrdp, TigerVNC, x11vnc, X over TCP, telnet."""

from __future__ import annotations

from lab.catalogue.entry import Entry
from lab.services.base import Site
from lab.services.endpoint import endpoint, program, says, through_socat
from lab.truth import EITHER

__all__ = ["PROGRAMS"]

_X_PORTS = 6000
"""Display n listens on 6000 + n."""
_VERSION = r"RFB 003.008\n"


def _display(site: Site) -> int:
    return site.ports.one() - _X_PORTS


def _xrdp(site: Site) -> None:
    port = site.ports.one()
    site.run("xrdp", "--nodaemon", "--port", str(port))
    asks = says(r"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00")
    endpoint(site, "xrdp", port, "rdp", [asks], over=EITHER, product="xrdp")


def _tigervnc(site: Site) -> None:
    port = site.ports.one()
    display = ("-rfbport", str(port), "-SecurityTypes", "None", "-localhost=0", "-nolisten", "unix")
    site.run("Xtigervnc", f":{_display(site)}", *display)
    endpoint(site, "tigervnc", port, "vnc", [says(_VERSION)])


def _x11vnc(site: Site) -> None:
    display, port = _display(site), site.ports.one()
    site.run("Xvfb", f":{display}", "-ac", name="Xvfb-of-x11vnc")
    command = f"sleep 1; exec x11vnc -display :{display} -rfbport {port} -forever -nopw -shared"
    site.run("sh", "-c", command, name="x11vnc")
    endpoint(site, "x11vnc", port, "vnc", [says(_VERSION)])


def _xvfb(site: Site) -> None:
    display = _display(site)
    site.run("Xvfb", f":{display}", "-listen", "tcp", "-ac")
    shows = program("xdpyinfo", "-display", f"{{address}}:{display}", families=(4,))
    endpoint(site, "xvfb", _X_PORTS + display, "x11", [shows], product="X.Org X server")


def _telnetd(site: Site) -> None:
    port = site.ports.one()
    through_socat(site, port, "/usr/sbin/telnetd", name="telnetd")
    talks = program("sh", "-c", "sleep 1 | telnet {address} {port}")
    endpoint(site, "telnetd", port, "telnet", [talks])


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="xrdp", start=_xrdp, packages=("xrdp",)),
    Entry(name="tigervnc", start=_tigervnc, packages=("tigervnc-standalone-server",), program="Xtigervnc"),
    Entry(name="x11vnc", start=_x11vnc, packages=("x11vnc", "xvfb")),
    Entry(name="xvfb", start=_xvfb, packages=("xvfb", "x11-utils"), program="Xvfb"),
    Entry(name="telnetd", start=_telnetd, packages=("inetutils-telnetd", "telnet", "socat")),
)
