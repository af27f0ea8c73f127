"""News, mail filters, and small text services: leafnode, ManageSieve, gopher, ident, dates, positions."""

from __future__ import annotations

from lab.catalogue.entry import Entry, version_of
from lab.services.base import Site
from lab.services.endpoint import endpoint, program, says, through_socat

__all__ = ["PROGRAMS"]

_SIEVE = """protocols = sieve
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
listen = *, ::
ssl = no
disable_plaintext_auth = no
service managesieve-login {{
  inet_listener sieve {{
    port = {port}
  }}
}}
passdb {{
  driver = static
  args = password=lab
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}/mail
}}
first_valid_uid = 1
"""
_XINETD = """service {name}
{{
 type = INTERNAL UNLISTED
 id = {name}-stream
 port = {port}
 socket_type = stream
 protocol = tcp
 user = root
 wait = no
 flags = IPv6
}}
"""


def _leafnode(site: Site) -> None:
    port = site.ports.one()
    through_socat(site, port, "/usr/sbin/leafnode", name="leafnode")
    endpoint(site, "leafnode", port, "nntp", [says()], product="Leafnode")


def _managesieve(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("managesieve")
    (folder / "dovecot.conf").write_text(_SIEVE.format(folder=folder, port=port))
    site.run("dovecot", "-F", "-c", folder / "dovecot.conf", name="managesieve")
    asks = says(r"CAPABILITY\r\n")
    endpoint(site, "managesieve", port, "sieve", [asks], product="Dovecot Pigeonhole")


def _gophernicus(site: Site) -> None:
    port = site.ports.one()
    through_socat(site, port, f"/usr/sbin/gophernicus -h localhost -p {port}", user="nobody", name="gophernicus")
    version = version_of(["gophernicus", "-v"], r"/([0-9]+\.[0-9]+[0-9.]*)")
    asks = program("curl", "-sS", "-m", "3", "-o", "/dev/null", "gopher://{host}:{port}/")
    endpoint(site, "gophernicus", port, "gopher", [asks], product="Gophernicus", version=version)


def _oidentd(site: Site) -> None:
    port = site.ports.one()
    site.run("oidentd", "-i", "-p", str(port))
    endpoint(site, "oidentd", port, "ident", [says(r"6193, 23\r\n")])


def _xinetd(site: Site) -> None:
    folder = site.folder("xinetd-small")
    ports = {name: site.ports.one() for name in ("daytime", "time", "chargen")}
    text = "".join(_XINETD.format(name=name, port=port) for name, port in ports.items())
    (folder / "conf").write_text(text)
    site.run("xinetd", "-dontfork", "-f", folder / "conf", name="xinetd-small")
    for name, port in ports.items():
        endpoint(site, f"xinetd-{name}", port, name, [says()])


def _gpsd(site: Site) -> None:
    port = site.ports.one()
    site.run("gpsd", "-N", "-G", "-S", str(port), "/dev/null")
    version = version_of(["gpsd", "-V"], r"([0-9]+\.[0-9]+(?:\.[0-9]+)?)")
    endpoint(site, "gpsd", port, "gpsd", [says(r"?VERSION;\n")], product="gpsd", version=version)


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="leafnode", start=_leafnode, packages=("leafnode", "socat")),
    Entry(name="managesieve", start=_managesieve, packages=("dovecot-managesieved",), program="dovecot"),
    Entry(name="gophernicus", start=_gophernicus, packages=("gophernicus", "socat")),
    Entry(name="oidentd", start=_oidentd, packages=("oidentd",)),
    Entry(name="xinetd-small", start=_xinetd, packages=("xinetd",), program="xinetd"),
    Entry(name="gpsd", start=_gpsd, packages=("gpsd",)),
)
