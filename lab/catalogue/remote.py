"""SSH and FTP servers beside OpenSSH, vsftpd and pyftpdlib."""

from __future__ import annotations

import subprocess

from lab.catalogue.entry import Entry, unpacked, version_of
from lab.catalogue.offers import offer_ftp, offer_ssh
from lab.packages import SEARCH_PATH
from lab.services.base import Site

__all__ = ["PROGRAMS"]

_PROFTPD = """ServerName "lab"
ServerType standalone
Port {port}
UseIPv6 on
User nobody
Group nogroup
PidFile {folder}/pid
ScoreboardFile {folder}/scoreboard
DelayEngine off
AuthPAM off
RequireValidShell off
AuthUserFile {folder}/users
TransferLog none
WtmpLog off
<Anonymous {files}>
  User ftp
  Group nogroup
  UserAlias anonymous ftp
</Anonymous>
"""


def _tool(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, env={"PATH": SEARCH_PATH}, timeout=60)


def _dropbear(site: Site) -> None:
    port, key = site.ports.one(), site.folder("dropbear") / "key"
    _tool("dropbearkey", "-t", "ed25519", "-f", str(key))
    site.run("dropbear", "-F", "-E", "-r", key, "-p", str(port))
    offer_ssh(site, "dropbear", port, product="Dropbear", version=version_of(["dropbear", "-V"], r"v?(20[0-9.]+)"))


def _tinysshd(site: Site) -> None:
    port, keys = site.ports.one(), site.folder("tinysshd") / "keys"
    _tool("tinysshd-makekey", str(keys))
    site.run("tcpserver", "-HRl0", "0.0.0.0", str(port), "tinysshd", "-v", keys)
    offer_ssh(site, "tinysshd", port, product="TinySSH", families=(4,))


def _library(name: str, product: str, kind: str) -> Entry:
    def start(site: Site) -> None:
        port, key = site.ports.one(), site.folder(name) / "key"
        _tool("ssh-keygen", "-q", "-t", kind, "-m", "PEM", "-N", "", "-f", str(key))
        site.python("lab.peers.ssh_servers", name, str(port), key, name=name)
        code = f"import importlib.metadata as m; print('v' + m.version({name!r}))"
        version = version_of([site.interpreter, "-c", code], r"v([0-9.]+)")
        offer_ssh(site, name, port, product=product, version=version)

    return Entry(name=name, start=start, packages=("openssh-client",), pip=(name,))


def _proftpd(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("proftpd")
    (folder / "users").touch(mode=0o600)
    (folder / "proftpd.conf").write_text(_PROFTPD.format(port=port, folder=folder, files=site.files))
    program = unpacked("proftpd-core") / "usr/sbin/proftpd"
    site.run(program, "-n", "-c", folder / "proftpd.conf")
    offer_ftp(site, "proftpd", port, product="ProFTPD")


def _pure_ftpd(site: Site) -> None:
    port = site.ports.one()
    program = unpacked("pure-ftpd") / "usr/sbin/pure-ftpd"
    site.run(program, "-e", "-H", "-S", str(port), name="pure-ftpd")
    offer_ftp(site, "pure-ftpd", port, product="Pure-FTPd")


def _inetutils(site: Site) -> None:
    port = site.ports.one()
    program = unpacked("inetutils-ftpd") / "usr/sbin/ftpd"
    site.run("tcpserver", "-HRl0", "0.0.0.0", str(port), program, "-A", name="inetutils-ftpd")
    version = version_of([str(program), "--version"])
    offer_ftp(site, "inetutils-ftpd", port, product="GNU inetutils ftpd", version=version, families=(4,))


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="dropbear", start=_dropbear, packages=("dropbear-bin",)),
    Entry(name="tinysshd", start=_tinysshd, packages=("tinysshd", "ucspi-tcp")),
    _library("asyncssh", "AsyncSSH", "ed25519"),
    _library("paramiko", "Paramiko", "rsa"),
    Entry(
        name="proftpd",
        start=_proftpd,
        packages=(
            "libhiredis0.14",
            "libmemcached11",
            "libmemcachedutil2",
            "libpcre2-posix3",
            "libidn2-0",
            "libsodium23",
        ),
        unpack=("proftpd-core",),
    ),
    Entry(name="pure-ftpd", start=_pure_ftpd, packages=("libsodium23", "libpam0g"), unpack=("pure-ftpd",)),
    Entry(name="inetutils-ftpd", start=_inetutils, packages=("ucspi-tcp",), unpack=("inetutils-ftpd",)),
)
