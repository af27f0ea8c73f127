"""SIP: Kamailio with sipsak; RTSP: rtsp-server-perl with curl (that server fails on IPv6, so IPv4 only)."""

from __future__ import annotations

from lab.services.base import Client, Service, Site, Target, talk
from lab.truth import Truth

__all__ = ["kamailio", "rtsp_server_perl", "start"]

_KAMAILIO = """log_stderror=yes
children=1
tcp_children=1
disable_tcp=no
auto_aliases=no
dns=no
rev_dns=no
{listen}
loadmodule "sl.so"
request_route {{
  sl_send_reply("200", "OK");
}}
"""
_OPTIONS = (
    r"OPTIONS sip:lab@server.lab.example SIP/2.0\r\n"
    r"Via: SIP/2.0/{transport} client.lab.example:5999;branch=z9hG4bKlab1;rport\r\n"
    r"From: <sip:client@lab.example>;tag=lab\r\nTo: <sip:lab@server.lab.example>\r\n"
    r"Call-ID: lab1@client.lab.example\r\n"
    r"CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)
_RTSP = r"OPTIONS * RTSP/1.0\r\nCSeq: 2\r\nUser-Agent: lab\r\n\r\n"


def _sipsak(transport: str) -> Client:
    def command(target: Target) -> list[str]:
        return ["sipsak", "-E", transport, "-s", f"sip:lab@{target.address}:{target.port}"]

    return Client(command=command, families=(4,))


def _curl_rtsp(target: Target) -> list[str]:
    return ["curl", "-sS", "-o", "/dev/null", f"rtsp://{target.host}:{target.port}/"]


def kamailio(site: Site) -> None:
    """SIP by UDP and TCP; every request is answered with 200."""
    folder = site.folder("kamailio")
    port = site.ports.one()
    listen = [
        f"listen={transport}:{address}:{port}"
        for transport in ("udp", "tcp")
        for address in (site.address4, f"[{site.address6}]")
    ]
    (folder / "kamailio.cfg").write_text(_KAMAILIO.format(listen="\n".join(listen)))
    memory = ["-m", "16", "-M", "4"]
    site.run("kamailio", "-DD", "-E", *memory, "-Y", folder, "-f", folder / "kamailio.cfg")
    for transport in ("udp", "tcp"):
        session = talk("--say", _OPTIONS.format(transport=transport.upper()), transport=transport)
        site.offer(
            Service(
                name=f"kamailio-{transport}",
                transport=transport,
                port=port,
                truth=Truth(service="sip"),
                clients=(
                    _sipsak(transport),
                    talk(
                        *("--seconds", "1", "--every", "2", "--say", _OPTIONS.format(transport=transport.upper())),
                        transport=transport,
                        families=(6,),
                    ),
                ),
                sessions=(session,),
            )
        )


def rtsp_server_perl(site: Site) -> None:
    """RTSP by TCP."""
    port, source = site.ports.one(), site.ports.one()
    ports = ["--clientport", str(port), "--serverport", str(source)]
    site.run("rtsp-server-perl", *ports, "--client_listen_address", "0.0.0.0")
    site.offer(
        Service(
            name="rtsp-server-perl",
            transport="tcp",
            port=port,
            truth=Truth(service="rtsp"),
            clients=(Client(command=_curl_rtsp),),
            sessions=(talk("--say", _RTSP),),
            families=(4,),
        )
    )


def start(site: Site) -> None:
    """Start the servers."""
    kamailio(site)
    rtsp_server_perl(site)
