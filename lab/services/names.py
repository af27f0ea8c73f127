"""DNS: BIND and dnsmasq, over UDP and TCP; dig is the client."""

from __future__ import annotations

from lab.services.base import Client, Service, Site, Target, talk
from lab.truth import Truth

__all__ = ["bind", "dnsmasq", "start"]

_NAMED = """options {{
  directory "{folder}";
  pid-file none;
  session-keyfile none;
  listen-on port {port} {{ any; }};
  listen-on-v6 port {port} {{ any; }};
  recursion no;
  dnssec-validation no;
}};
controls {{ }};
zone "lab.example" {{ type primary; file "{folder}/zone"; }};
"""
_ZONE = """$TTL 60
@ IN SOA server.lab.example. root.lab.example. 1 3600 600 86400 60
@ IN NS server
server IN A 198.18.10.2
www IN A 198.18.10.2
"""
_QUERY = r"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x03lab\x07example\x00\x00\x01\x00\x01"
_QUERY_BYTES = 12 + 17 + 4


def _dig(*options: str) -> Client:
    def command(target: Target) -> list[str]:
        return ["dig", "+tries=3", "+time=2", *options, f"@{target.address}", "-p", str(target.port), "www.lab.example"]

    return Client(command=command)


def _offer(site: Site, program: str, port: int) -> None:
    truth = Truth(service="dns")
    site.offer(
        Service(
            name=f"{program}-udp",
            transport="udp",
            port=port,
            truth=truth,
            clients=(_dig(),),
            sessions=(talk("--say", _QUERY, transport="udp"),),
        ),
        Service(
            name=f"{program}-tcp",
            transport="tcp",
            port=port,
            truth=truth,
            clients=(_dig("+tcp"),),
            sessions=(talk("--say", rf"\x00\x{_QUERY_BYTES:02x}{_QUERY}"),),
        ),
    )


def bind(site: Site) -> None:
    """BIND as an authoritative server."""
    folder = site.folder("named", owner="bind")
    port = site.ports.one()
    (folder / "zone").write_text(_ZONE)
    (folder / "named.conf").write_text(_NAMED.format(folder=folder, port=port))
    site.run("named", "-f", "-u", "bind", "-n", "1", "-c", folder / "named.conf")
    _offer(site, "bind", port)


def dnsmasq(site: Site) -> None:
    """One that answers for a domain of its own."""
    port = site.ports.one()
    settings = ["--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--log-facility=-"]
    site.run("dnsmasq", "--keep-in-foreground", f"--port={port}", *settings, "--address=/lab.example/198.18.10.2")
    _offer(site, "dnsmasq", port)


def start(site: Site) -> None:
    """Start the servers."""
    bind(site)
    dnsmasq(site)
