"""SMTP servers beside Postfix."""

from __future__ import annotations

from lab.catalogue.entry import Entry, unpacked, version_of
from lab.catalogue.offers import offer_smtp
from lab.services.base import Site

__all__ = ["PROGRAMS"]

_EXIM = """primary_hostname = server.lab.example
spool_directory = {folder}
log_file_path = {folder}/%slog
daemon_smtp_ports = {port}
local_interfaces = 0.0.0.0
tls_advertise_hosts =
never_users =
acl_smtp_rcpt = refuse
begin acl
refuse:
  deny
begin routers
none:
  driver = redirect
  data = :blackhole:
"""


def _exim(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("exim")
    folder.chmod(0o777)
    conf = folder / "exim.conf"
    conf.write_text(_EXIM.format(port=port, folder=folder))
    program = unpacked("exim4-daemon-light") / "usr/sbin/exim4"
    site.run(program, "-bdf", "-C", conf)
    version = version_of([str(program), "-bV"], r"version ([0-9.]+)")
    offer_smtp(site, "exim", port, product="Exim", version=version, families=(4,))


def _msmtpd(site: Site) -> None:
    port = site.ports.one()
    program = unpacked("msmtp-mta") / "usr/bin/msmtpd"
    site.run(program, "--interface=0.0.0.0", f"--port={port}", "--command=/bin/true", name="msmtpd")
    offer_smtp(site, "msmtpd", port, families=(4,))


def _aiosmtpd(site: Site) -> None:
    port = site.ports.one()
    site.python("aiosmtpd", "-n", "-l", f"0.0.0.0:{port}", name="aiosmtpd")
    offer_smtp(site, "aiosmtpd", port, product="aiosmtpd", families=(4,))


PROGRAMS: tuple[Entry, ...] = (
    Entry(
        name="exim", start=_exim, packages=("libidn12", "libgnutls-dane0", "libspf2-2"), unpack=("exim4-daemon-light",)
    ),
    Entry(name="msmtpd", start=_msmtpd, packages=("libsecret-1-0",), unpack=("msmtp-mta",)),
    Entry(name="aiosmtpd", start=_aiosmtpd, pip=("aiosmtpd",)),
)
