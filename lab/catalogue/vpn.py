"""VPN servers: OpenVPN (UDP, TCP, and silent with tls-auth), xl2tpd, pptpd, strongSwan's charon."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from lab.catalogue.entry import Entry
from lab.services.base import Client, Service, Site, Target, talk
from lab.truth import Truth

__all__ = ["PROGRAMS"]

_L2TP = """[global]
port = {port}
listen-addr = {address}
[lns default]
ip range = 10.99.9.2-10.99.9.9
local ip = 10.99.9.1
"""
_SCCRQ_PPTP = (
    r"\x00\x9c\x00\x01\x1a\x2b\x3c\x4d\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x03\x00\x00\x00\x00"
    "lab" + r"\x00" * 125
)
_SCCRQ_L2TP = (
    r"\xc8\x02\x00\x45\x00\x00\x00\x00\x00\x00\x00\x00\x80\x08\x00\x00\x00\x00\x00\x01\x80\x08\x00\x00\x00\x02\x01\x00"
    r"\x80\x0a\x00\x00\x00\x03\x00\x00\x00\x03\x80\x0f\x00\x00\x00\x07laboratory\x80\x08\x00\x00\x00\x09\x12\x34"
    r"\x80\x08\x00\x00\x00\x0a\x00\x04"
).replace("laboratory", "laborator")


def _keys(folder: Path) -> list[str]:
    """A certificate that is its own authority, for both sides."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "30",
        "-subj",
        "/CN=vpn.lab.example",
    ]
    subprocess.run(
        [*command, "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True,
        capture_output=True,
    )
    certificate = str(folder / "cert.pem")
    return ["--ca", certificate, "--cert", certificate, "--key", str(folder / "key.pem"), "--verb", "3"]


def _openvpn(name: str, *, tcp: bool = False, silent: bool = False) -> Callable[[Site], None]:
    def start(site: Site) -> None:
        folder, port = site.folder(name), site.ports.one()
        keys = _keys(folder)
        if silent:
            secret = folder / "ta.key"
            subprocess.run(["/usr/sbin/openvpn", "--genkey", "secret", str(secret)], check=True, capture_output=True)
        kind = ["tls-auth", str(folder / "ta.key")] if silent else []

        def auth(direction: str) -> list[str]:
            return [f"--{kind[0]}", kind[1], direction] if kind else []

        # as a server for many clients: the one for a single peer takes one connection and closes its port
        many = ["--mode", "server", "--dev", "tun"]
        server = [*many, "--proto", "tcp-server" if tcp else "udp", "--port", str(port), "--tls-server"]
        site.run("openvpn", *server, "--dh", "none", *keys, *auth("0"), name=name)

        def command(target: Target) -> list[str]:
            words = ["openvpn", "--dev", "null", "--proto", "tcp-client" if tcp else "udp", "--tls-client", "--nobind"]
            words += ["--remote", target.address, str(target.port), *keys, *auth("1")]
            return ["timeout", "4", *words, "--connect-retry-max", "1"]

        site.offer(
            Service(
                name=name,
                transport="tcp" if tcp else "udp",
                port=port,
                truth=Truth(service="openvpn"),
                clients=(Client(command=command, families=(4,)),),
                families=(4,),
            )
        )

    return start


def _xl2tpd(site: Site) -> None:
    folder, port = site.folder("xl2tpd"), site.ports.one()
    (folder / "conf").write_text(_L2TP.format(port=port, address=site.address4))
    site.run("xl2tpd", "-D", "-c", folder / "conf", "-p", folder / "pid", "-C", folder / "control")
    client = talk("--open", _SCCRQ_L2TP, "--seconds", "1", transport="udp", families=(4,))
    truth = Truth(service="l2tp")
    site.offer(Service(name="xl2tpd", transport="udp", port=port, truth=truth, clients=(client,), families=(4,)))


def _pptpd(site: Site) -> None:
    folder = site.folder("pptpd")
    (folder / "conf").write_text("localip 10.99.8.1\nremoteip 10.99.8.2-9\n")
    listen = ["-l", site.address4, "-p", str(folder / "pid")]
    site.run("pptpd", "-f", "-c", folder / "conf", *listen)
    client = talk("--open", _SCCRQ_PPTP, "--seconds", "1", families=(4,))
    site.offer(
        Service(
            name="pptpd",
            transport="tcp",
            port=1723,  # it knows no other
            truth=Truth(service="pptp"),
            clients=(client,),
            families=(4,),
            product="pptpd",
        )
    )


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="openvpn-udp", start=_openvpn("openvpn-udp"), packages=("openvpn",), program="openvpn"),
    Entry(name="openvpn-tcp", start=_openvpn("openvpn-tcp", tcp=True), packages=("openvpn",), program="openvpn"),
    Entry(
        name="openvpn-tls-auth",
        start=_openvpn("openvpn-tls-auth", silent=True),
        packages=("openvpn",),
        program="openvpn",
    ),
    Entry(name="xl2tpd", start=_xl2tpd, packages=("xl2tpd",)),
    Entry(name="pptpd", start=_pptpd, packages=("pptpd",)),
)
