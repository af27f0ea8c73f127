"""IRC and XMPP servers."""

from __future__ import annotations

from lab.catalogue.entry import Entry
from lab.services.base import Site
from lab.services.endpoint import endpoint, says
from lab.truth import EITHER

__all__ = ["PROGRAMS"]

_NGIRCD = """[Global]
Name = irc.lab.example
Info = Laboratory
Ports = {port}
MotdPhrase = hello
[Options]
PAM = no
Ident = no
DNS = no
[SSL]
CertFile = {certificate}
KeyFile = {certificate}
Ports = {tls}
"""
_INSPIRCD = """<server name="irc.lab.example" description="Laboratory" network="Lab">
<admin name="lab" nick="lab" email="lab@lab.example">
<bind address="" port="{port}" type="clients">
<connect allow="*" timeout="60" hardsendq="1M" softsendq="8192" resolvehostnames="no">
<pid file="{folder}/pid">
<path datadir="{folder}" logdir="{folder}" runtimedir="{folder}">
<module name="cap">
<module name="ssl_gnutls">
<sslprofile name="clients" provider="gnutls" certfile="{certificate}" keyfile="{certificate}" hash="sha256">
<module name="starttls">
<starttls sslprofile="clients">
"""
_PROSODY = """pidfile = "{folder}/pid"
data_path = "{folder}"
run_as_root = true
c2s_ports = {{ {clients} }}
s2s_ports = {{ {servers} }}
modules_enabled = {{ "saslauth", "roster", "disco", "dialback", "version", "tls" }}
log = "*console"
VirtualHost "lab.example"
VirtualHost "{address}"
ssl = {{ certificate = "{certificate}", key = "{certificate}" }}
"""
_STREAM = (
    "<?xml version='1.0'?><stream:stream to='lab.example' xmlns='jabber:{kind}' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
_REGISTER = (r"NICK lab\r\nUSER lab 0 * :Lab\r\n", r"JOIN #lab\r\n")


def _ngircd(site: Site) -> None:
    folder, port, tls = site.folder("ngircd"), site.ports.one(), site.ports.one()
    (folder / "conf").write_text(_NGIRCD.format(port=port, tls=tls, certificate=site.certificate))
    site.run("ngircd", "-n", "-f", folder / "conf")
    endpoint(site, "ngircd", port, "irc", [says(*_REGISTER)], product="ngIRCd")
    endpoint(site, "ngircd-tls", tls, "irc", [says(*_REGISTER, transport="tls")], product="ngIRCd", tls=True)


def _inspircd(site: Site) -> None:
    folder, port = site.folder("inspircd"), site.ports.one()
    (folder / "conf").write_text(_INSPIRCD.format(port=port, folder=folder, certificate=site.certificate))
    site.run("inspircd", "--nofork", "--runasroot", "--config", folder / "conf")
    endpoint(site, "inspircd", port, "irc", [says(*_REGISTER)], over=EITHER)


def _prosody(site: Site) -> None:
    folder, clients, servers = site.folder("prosody"), site.ports.one(), site.ports.one()
    (folder / "conf.lua").write_text(
        _PROSODY.format(
            folder=folder, clients=clients, servers=servers, certificate=site.certificate, address=site.address4
        )
    )
    site.run("prosody", "-F", "--config", folder / "conf.lua")
    endpoint(site, "prosody", clients, "xmpp", [says(_STREAM.format(kind="client"))], over=EITHER)
    endpoint(site, "prosody-servers", servers, "xmpp", [says(_STREAM.format(kind="server"))], over=EITHER)


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="ngircd", start=_ngircd, packages=("ngircd",)),
    Entry(name="inspircd", start=_inspircd, packages=("inspircd",)),
    Entry(name="prosody", start=_prosody, packages=("prosody",)),
)
