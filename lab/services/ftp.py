"""FTP: vsftpd and pyftpdlib, in clear, with AUTH TLS and with TLS from the start; curl and lftp are the clients.

Each server has a range of passive data ports of its own and each active client a range of its own, so that a data
connection's truth is known by its port.
"""

from __future__ import annotations

from pathlib import Path

from lab.services.base import BIG, SLOWLY, SMALL, Client, Data, Service, Site, Target, talk
from lab.truth import CLEAR, EITHER, TLS, Kind, Truth

__all__ = ["pyftpdlib", "start", "vsftpd"]

_VSFTPD = """listen=NO
listen_ipv6=YES
background=NO
listen_port={port}
pasv_min_port={low}
pasv_max_port={high}
anonymous_enable=YES
no_anon_password=YES
anon_root={files}
ftp_username=ftp
local_enable=NO
port_enable=YES
connect_from_port_20=NO
secure_chroot_dir={empty}
seccomp_sandbox=NO
xferlog_enable=NO
"""
_VSFTPD_TLS = """ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=NO
force_anon_data_ssl=NO
require_ssl_reuse=NO
ssl_ciphers=HIGH
rsa_cert_file={certificate}
rsa_private_key_file={certificate}
"""


def _curl(scheme: str, *options: str, families: tuple[int, ...] = (4, 6)) -> Client:
    def command(target: Target) -> list[str]:
        return ["curl", "-sSk", "-o", "/dev/null", *options, f"{scheme}://{target.host}:{target.port}/{SMALL}"]

    return Client(command=command, families=families)


def _curl_slowly(scheme: str, *options: str) -> Client:
    def command(target: Target) -> list[str]:
        url = f"{scheme}://{target.host}:{target.port}/{BIG}"
        return ["curl", "-sSk", "-o", "/dev/null", "--limit-rate", SLOWLY, *options, url]

    return Client(command=command, lasts=True)


def _curl_active(low: int, high: int, *options: str, families: tuple[int, ...] = (4, 6)) -> Client:
    def command(target: Target) -> list[str]:
        own = f"[{target.own_address}]" if target.family == 6 else target.own_address
        url = f"ftp://{target.host}:{target.port}/{SMALL}"
        return ["curl", "-sSk", "-o", "/dev/null", "--ftp-port", f"{own}:{low}-{high}", *options, url]

    return Client(command=command, reachable=True, families=families)


def _lftp(*settings: str, active: tuple[int, int] | None = None) -> Client:
    def command(target: Target) -> list[str]:
        said = ["net:max-retries 2", "net:timeout 10", "ssl:verify-certificate no", *settings]
        if active:
            said += ["ftp:passive-mode no", f"ftp:port-range {active[0]}-{active[1]}"]
        script = "; ".join(f"set {setting}" for setting in said)
        where = f"open -p {target.port} ftp://anonymous:lab@{target.host}"
        return ["lftp", "--norc", "-e", f"{script}; {where}; cls; cat {SMALL}; bye"]

    return Client(command=command, reachable=active is not None, forwarded=active is not None)


def _truths(service_over: frozenset[str | None]) -> tuple[Truth, Truth, Truth]:
    """Control, passive data, active data."""
    control = Truth(service="ftp", over=service_over)
    if service_over == CLEAR:
        return control, Truth(service="ftp", kind=Kind.DATA_PASSIVE), Truth(service="ftp", kind=Kind.DATA_ACTIVE)
    hidden = Truth(service="ftp", over=EITHER, kind=Kind.DATA_HIDDEN)
    return control, hidden, hidden


def _offer(site: Site, name: str, port: int, low: int, high: int, over: frozenset[str | None]) -> None:
    control, passive, active = _truths(over)
    near = site.ports.range()
    data = [
        Data(low=low, high=high, truth=passive),
        Data(low=near[0], high=near[1], truth=active, at_client=True),
    ]
    log_in = ("--listen", "--open", r"USER anonymous\r\n", "--open", r"PASS lab@\r\n", "--say", r"NOOP\r\n")
    clients: tuple[Client, ...]
    sessions: tuple[Client, ...]
    if over == CLEAR:
        clients = (
            _curl("ftp", "--disable-epsv", families=(4,)),
            _curl("ftp"),
            _curl_active(near[0], near[0] + 30, "--disable-eprt", families=(4,)),
            _curl_active(near[0] + 31, near[0] + 60),
            _lftp("ftp:ssl-allow no"),
            _lftp("ftp:ssl-allow no", active=(near[0] + 61, near[1])),
        )
        sessions = (talk(*log_in), _curl_slowly("ftp"))
    elif over == EITHER:
        clients = (
            _curl("ftp", "--ssl-reqd"),
            _lftp("ftp:ssl-force yes", "ftp:ssl-protect-data yes"),
        )
        inside = ("--starttls", r"AUTH TLS\r\n", *log_in[1:])
        sessions = (talk(*inside), _curl_slowly("ftp", "--ssl-reqd"))
    else:
        clients = (_curl("ftps"),)
        sessions = (talk(*log_in, transport="tls"), _curl_slowly("ftps"))
    service = Service(
        name=name, transport="tcp", port=port, truth=control, clients=clients, sessions=sessions, data=tuple(data)
    )
    site.offer(service)


def _vsftpd(site: Site, name: str, over: frozenset[str | None]) -> None:
    folder = site.folder(name)
    empty = site.folder(f"{name}/empty")
    port, (low, high) = site.ports.one(), site.ports.range()
    text = _VSFTPD.format(port=port, low=low, high=high, files=site.files, empty=empty)
    if over != CLEAR:
        text += _VSFTPD_TLS.format(certificate=site.certificate)
    if over == TLS:
        text += "implicit_ssl=YES\n"
    path: Path = folder / "vsftpd.conf"
    path.write_text(text)
    site.run("vsftpd", path, name=name)
    _offer(site, name, port, low, high, over)


def _pyftpdlib(site: Site, name: str, over: frozenset[str | None]) -> None:
    port, (low, high) = site.ports.one(), site.ports.range()
    tls: list[str | Path] = [] if over == CLEAR else ["--tls", site.certificate]
    site.python("lab.peers.ftp_server", str(port), str(low), str(high), site.files, *tls, name=name)
    _offer(site, name, port, low, high, over)


def vsftpd(site: Site) -> None:
    """In clear, with AUTH TLS, and inside TLS."""
    _vsftpd(site, "vsftpd", CLEAR)
    _vsftpd(site, "vsftpd-authtls", EITHER)
    _vsftpd(site, "vsftpd-implicit", TLS)


def pyftpdlib(site: Site) -> None:
    """In clear and with AUTH TLS."""
    _pyftpdlib(site, "pyftpdlib", CLEAR)
    _pyftpdlib(site, "pyftpdlib-authtls", EITHER)


def start(site: Site) -> None:
    """Start the servers."""
    vsftpd(site)
    pyftpdlib(site)
