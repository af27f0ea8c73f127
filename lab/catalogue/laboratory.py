"""The programs of the laboratory itself (`make lab`), with what they say of themselves."""

from __future__ import annotations

import http.server
import platform
from collections.abc import Callable
from dataclasses import replace

from lab.catalogue.entry import Entry, version_of
from lab.services import ftp, impostors, mail, media, names, shell, skype, stores, web
from lab.services.base import Site

__all__ = ["PROGRAMS", "named"]


def named(
    start: Callable[[Site], None], product: str | None = None, version: Callable[[], str | None] = lambda: None
) -> Callable[[Site], None]:
    """The same start, with the product and the version that all its endpoints tell."""

    def started(site: Site) -> None:
        before = len(site.services)
        start(site)
        true = version()
        site.services[before:] = [replace(one, product=product, version=true) for one in site.services[before:]]

    return started


def _of(*command: str) -> Callable[[], str | None]:
    return lambda: version_of(command)


def _python() -> str:
    """It tells two: its own and Python's."""
    return f"{platform.python_version()}|{http.server.SimpleHTTPRequestHandler.server_version.partition('/')[2]}"


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="nginx", start=named(web.nginx, "nginx", _of("nginx", "-v")), packages=("nginx-light",)),
    Entry(
        name="python-http", start=named(web.python_http, "Python http.server|SimpleHTTPServer", _python), program="/"
    ),
    Entry(
        name="vsftpd", start=named(ftp.vsftpd, "vsFTPd", _of("dpkg-query", "-W", "vsftpd")), packages=("vsftpd", "lftp")
    ),
    Entry(name="pyftpdlib", start=named(ftp.pyftpdlib, "pyftpdlib"), packages=("lftp",)),
    Entry(
        name="openssh",
        start=named(shell.start, "OpenSSH", lambda: version_of(["ssh", "-V"], r"OpenSSH_([0-9.]+p[0-9]+)")),
        packages=("openssh-server", "openssh-client"),
    ),
    Entry(name="postfix", start=named(mail.postfix, "Postfix"), packages=("postfix", "swaks")),
    Entry(
        name="dovecot",
        start=named(mail.dovecot, "Dovecot"),
        packages=("dovecot-core", "dovecot-imapd", "dovecot-pop3d"),
    ),
    Entry(name="bind", start=named(names.bind, "BIND", _of("named", "-v")), packages=("bind9", "bind9-dnsutils")),
    Entry(
        name="dnsmasq",
        start=named(names.dnsmasq, "dnsmasq", _of("dnsmasq", "-v")),
        packages=("dnsmasq-base", "bind9-dnsutils"),
    ),
    Entry(
        name="redis",
        start=named(stores.start, "Redis", _of("redis-server", "-v")),
        packages=("redis-server", "redis-tools"),
    ),
    Entry(
        name="kamailio",
        start=named(media.kamailio, "Kamailio", _of("kamailio", "-v")),
        packages=("kamailio", "sipsak"),
    ),
    Entry(name="rtsp-server-perl", start=media.rtsp_server_perl, packages=("rtsp-server-perl",)),
    Entry(name="skype-standin", start=skype.start, program="/"),
    Entry(name="impostors", start=impostors.start, packages=("ncat", "xinetd")),
)
