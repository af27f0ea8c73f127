"""Proxies and TLS terminators."""

from __future__ import annotations

from lab.catalogue.entry import Entry, version_of
from lab.catalogue.offers import offer_http
from lab.services.base import Site

__all__ = ["PROGRAMS"]

_HAPROXY = """defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 2s
frontend plain
  bind :::{http} v4v6
  default_backend pages
frontend secure
  bind :::{https} v4v6 ssl crt {certificate}
  default_backend pages
backend pages
  server pages 127.0.0.1:1
"""
_SQUID = """http_port {port}
http_access allow all
cache deny all
access_log none
cache_log {folder}/cache.log
cache_store_log none
pid_filename {folder}/pid
coredump_dir {folder}
shutdown_lifetime 1 second
netdb_filename none
cache_mem 8 MB
"""
_TINYPROXY = """Port {port}
Listen ::
Listen 0.0.0.0
Timeout 30
PidFile "{folder}/pid"
MaxClients 50
"""
_PRIVOXY = """listen-address [::]:{port}
confdir /etc/privoxy
logdir {folder}
"""
_STUNNEL = """foreground = yes
pid =
[pages]
accept = :::{port}
connect = 127.0.0.1:{inner}
cert = {certificate}
"""


def _haproxy(site: Site) -> None:
    ports = site.ports.one(), site.ports.one()
    path = site.folder("haproxy") / "haproxy.cfg"
    path.write_text(_HAPROXY.format(http=ports[0], https=ports[1], certificate=site.certificate))
    site.run("haproxy", "-db", "-f", path)
    offer_http(site, "haproxy", ports[0])
    offer_http(site, "haproxy-tls", ports[1], tls=True)


def _squid(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("squid", owner="proxy")
    (folder / "squid.conf").write_text(_SQUID.format(port=port, folder=folder))
    site.run("squid", "-N", "-n", f"lab{port}", "-f", folder / "squid.conf")
    offer_http(site, "squid", port, product="Squid", version=version_of(["squid", "-v"]))


def _tinyproxy(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("tinyproxy")
    (folder / "tinyproxy.conf").write_text(_TINYPROXY.format(port=port, folder=folder))
    site.run("tinyproxy", "-d", "-c", folder / "tinyproxy.conf")
    offer_http(site, "tinyproxy", port, product="tinyproxy", version=version_of(["tinyproxy", "-v"]))


def _privoxy(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("privoxy")
    (folder / "config").write_text(_PRIVOXY.format(port=port, folder=folder))
    site.run("privoxy", "--no-daemon", folder / "config")
    offer_http(site, "privoxy", port, product="Privoxy")


def _varnish(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("varnish")
    site.run("varnishd", "-F", "-a", f":{port}", "-b", "127.0.0.1:1", "-n", folder / "work", "-s", "malloc,16m")
    offer_http(site, "varnish", port, product="Varnish")


def _inner(site: Site, name: str) -> int:
    port = site.ports.one()
    site.run("busybox", "httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", site.files, name=f"{name}-inner")
    return port


def _stunnel(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("stunnel")
    inner = _inner(site, "stunnel")
    (folder / "stunnel.conf").write_text(_STUNNEL.format(port=port, inner=inner, certificate=site.certificate))
    site.run("stunnel4", folder / "stunnel.conf")
    offer_http(site, "stunnel", port, tls=True)


def _hitch(site: Site) -> None:
    port, inner = site.ports.one(), _inner(site, "hitch")
    settings = [f"--frontend=[*]:{port}", f"--backend=[127.0.0.1]:{inner}", str(site.certificate)]
    site.run("hitch", "--user=nobody", *settings)
    offer_http(site, "hitch", port, tls=True)


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="haproxy", start=_haproxy, packages=("haproxy",)),
    Entry(name="squid", start=_squid, packages=("squid",)),
    Entry(name="tinyproxy", start=_tinyproxy, packages=("tinyproxy",)),
    Entry(name="privoxy", start=_privoxy, packages=("privoxy",)),
    Entry(name="varnish", start=_varnish, packages=("varnish",)),
    Entry(name="stunnel", start=_stunnel, packages=("stunnel4", "busybox | busybox-static")),
    Entry(name="hitch", start=_hitch, packages=("hitch", "busybox | busybox-static")),
)
