"""Name servers beside BIND and dnsmasq."""

from __future__ import annotations

from pathlib import Path

from lab.catalogue.entry import Entry, version_of
from lab.catalogue.offers import offer_dns
from lab.services.base import Site

__all__ = ["PROGRAMS"]

_ZONE = """$ORIGIN lab.example.
$TTL 60
@ IN SOA server.lab.example. root.lab.example. 1 3600 600 86400 60
@ IN NS server
server IN A 10.77.0.2
www IN A 10.77.0.2
"""
_UNBOUND = """server:
  port: {port}
  interface: 0.0.0.0
  interface: ::0
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/pid"
  use-syslog: no
  local-zone: "lab.example." static
  local-data: "www.lab.example. A 10.77.0.2"
remote-control:
  control-enable: no
"""
_KNOT = """server:
  listen: [ 0.0.0.0@{port}, "::@{port}" ]
  rundir: "{folder}"
database:
  storage: "{folder}/db"
log:
  - target: stderr
    any: warning
zone:
  - domain: lab.example
    storage: "{folder}"
    file: "zone"
"""
_NSD = """server:
  ip-address: 0.0.0.0
  ip-address: ::0
  port: {port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/pid"
  xfrdfile: "{folder}/xfrd"
  xfrdir: "{folder}"
  zonelistfile: "{folder}/zones"
  database: ""
remote-control:
  control-enable: no
zone:
  name: "lab.example"
  zonefile: "zone"
"""
_DNSDIST = """setLocal("0.0.0.0:{port}")
addLocal("[::]:{port}")
addACL("0.0.0.0/0")
addACL("::/0")
newServer("127.0.0.1:1")
addAction(AllRule(), RCodeAction(DNSRCode.REFUSED))
"""


def _folder(site: Site, name: str, text: str, port: int) -> Path:
    folder = site.folder(name)
    (folder / "zone").write_text(_ZONE)
    path = folder / "configuration"
    path.write_text(text.format(folder=folder, port=port))
    return path


def _unbound(site: Site) -> None:
    port = site.ports.one()
    site.run("unbound", "-d", "-c", _folder(site, "unbound", _UNBOUND, port))
    offer_dns(site, "unbound", port, product="Unbound", version=version_of(["unbound", "-V"], r"Version ([0-9.]+)"))


def _knot(site: Site) -> None:
    port = site.ports.one()
    site.run("knotd", "-c", _folder(site, "knot", _KNOT, port))
    offer_dns(site, "knot", port, product="Knot DNS", version=version_of(["knotd", "-V"]))


def _nsd(site: Site) -> None:
    port = site.ports.one()
    site.run("nsd", "-d", "-c", _folder(site, "nsd", _NSD, port))
    offer_dns(site, "nsd", port, product="NSD", version=version_of(["nsd", "-v"], r"version ([0-9.]+)"))


def _powerdns(site: Site) -> None:
    port = site.ports.one()
    folder = _folder(site, "pdns", 'zone "lab.example" {{ type master; file "{folder}/zone"; }};\n', port).parent
    settings = [f"--local-port={port}", "--local-address=0.0.0.0,::", f"--socket-dir={folder}", "--launch=bind"]
    settings += [f"--bind-config={folder}/configuration", "--config-dir=/nonexistent", "--guardian=no", "--daemon=no"]
    site.run("pdns_server", *settings)
    version = version_of(["pdns_server", "--version"], r"Server ([0-9.]+)")
    offer_dns(site, "pdns", port, product="PowerDNS|PowerDNS Authoritative Server", version=version)


def _recursor(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("pdns-recursor")
    settings = [f"--local-port={port}", "--local-address=0.0.0.0,::", f"--socket-dir={folder}", "--threads=1"]
    settings += ["--config-dir=/nonexistent", "--daemon=no", "--allow-from=0.0.0.0/0,::/0"]
    site.run("pdns_recursor", *settings)
    version = version_of(["pdns_recursor", "--version"], r"Recursor ([0-9.]+)")
    offer_dns(site, "pdns-recursor", port, product="PowerDNS|PowerDNS Recursor", version=version)


def _dnsdist(site: Site) -> None:
    port = site.ports.one()
    site.run("dnsdist", "--supervised", "--disable-syslog", "-C", _folder(site, "dnsdist", _DNSDIST, port))
    offer_dns(site, "dnsdist", port)


_DIG = "bind9-dnsutils"
PROGRAMS: tuple[Entry, ...] = (
    Entry(name="unbound", start=_unbound, packages=("unbound", _DIG)),
    Entry(name="knot", start=_knot, packages=("knot", _DIG)),
    Entry(name="nsd", start=_nsd, packages=("nsd", _DIG)),
    Entry(name="pdns", start=_powerdns, packages=("pdns-server", "pdns-backend-bind", _DIG)),
    Entry(name="pdns-recursor", start=_recursor, packages=("pdns-recursor", _DIG)),
    Entry(name="dnsdist", start=_dnsdist, packages=("dnsdist", _DIG)),
)
