"""Time, management and small devices: chrony, Net-SNMP, tftpd, libcoap."""

from __future__ import annotations

from lab.catalogue.entry import Entry
from lab.packages import unpacked
from lab.services.base import SMALL, Site
from lab.services.endpoint import endpoint, program, says

__all__ = ["PROGRAMS"]

_CHRONY = """port {port}
allow all
local stratum 8
cmdport 0
driftfile {folder}/drift
pidfile {folder}/pid
"""
_CLIENT = r"\xe3\x00\x04\xfa" + r"\x00" * 36 + r"\xc5\x02\x04\xec\xeb\xa0\xd5\xf1"


def _chrony(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("chrony")
    (folder / "conf").write_text(_CHRONY.format(port=port, folder=folder))
    site.run(unpacked("chrony") / "usr/sbin/chronyd", "-d", "-x", "-u", "root", "-f", folder / "conf")
    endpoint(site, "chrony", port, "ntp", [says(_CLIENT, transport="udp")], transport="udp")


def _snmpd(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("snmpd")
    (folder / "conf").write_text(f"agentaddress udp:{port},udp6:{port},tcp:{port},tcp6:{port}\nrocommunity lab\n")
    site.run("snmpd", "-f", "-Lo", "-C", "-c", folder / "conf", "-I", "-smux", "-p", folder / "pid")
    options = ("-v", "2c", "-c", "lab", "-r", "0", "-t", "2")
    for transport in ("udp", "tcp"):
        asks = program("snmpget", *options, f"{transport}:{{host}}:{{port}}", "1.3.6.1.2.1.1.1.0", families=(4,))
        endpoint(
            site, f"snmpd-{transport}", port, "snmp", [asks], transport=transport, product="Net-SNMP", families=(4,)
        )


def _tftpd(site: Site) -> None:
    port = site.ports.one()
    site.run("in.tftpd", "-L", "-a", f":{port}", "--secure", "-u", "nobody", site.files)
    reads = program("tftp", "{address}", "{port}", "-m", "octet", "-c", "get", SMALL, "/dev/null", families=(4,))
    endpoint(site, "tftpd", port, "tftp", [reads], transport="udp", families=(4,))


def _coap(site: Site) -> None:
    port = site.ports.one()
    site.run("coap-server-notls", "-A", "0.0.0.0", "-p", str(port))
    reads = program("coap-client-notls", "-B", "2", "coap://{host}:{port}/time", families=(4,))
    endpoint(site, "libcoap", port, "coap", [reads], transport="udp", families=(4,))


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="chrony", start=_chrony, packages=("libedit2", "libnettle8", "libseccomp2"), unpack=("chrony",)),
    Entry(name="snmpd", start=_snmpd, packages=("snmpd", "snmp")),
    Entry(name="tftpd", start=_tftpd, packages=("tftpd-hpa", "tftp-hpa"), program="in.tftpd"),
    Entry(name="libcoap", start=_coap, packages=("libcoap3-bin",), program="coap-server-notls"),
)
