"""Echo (xinetd, ncat), and servers that are no service: ncat silent, random, and with first lines that promise much."""

from __future__ import annotations

from pathlib import Path

from lab.services.base import Service, Site, talk
from lab.truth import Kind, Truth

__all__ = ["start"]

_ECHO = Truth(service="echo", asks=True)
_IMPOSTOR = Truth(service=None, kind=Kind.IMPOSTOR, asks=True)
_BANNER = Truth(service=None, kind=Kind.BANNER, asks=True)
_THEN_SILENT = "; exec cat > /dev/null"
_FIRST_HEAR = "head -c 1 > /dev/null; "

_TCP: tuple[tuple[str, Truth, list[str]], ...] = (
    ("ncat-echo", _ECHO, ["--exec", "/bin/cat"]),
    ("ncat-silent", _IMPOSTOR, ["--recv-only"]),
    ("ncat-random", _IMPOSTOR, ["--sh-exec", "head -c 200 /dev/urandom" + _THEN_SILENT]),
    ("ncat-random-reply", _IMPOSTOR, ["--sh-exec", _FIRST_HEAR + "head -c 64 /dev/urandom" + _THEN_SILENT]),
    ("ncat-220-hello", _BANNER, ["--sh-exec", r"printf '220 hello\r\n'" + _THEN_SILENT]),
    ("ncat-http-nonsense", _BANNER, ["--sh-exec", _FIRST_HEAR + r"printf 'HTTP/ is great\r\n\r\n'" + _THEN_SILENT]),
    ("ncat-ssh-nonsense", _BANNER, ["--sh-exec", r"printf 'SSH service is disabled\r\n'" + _THEN_SILENT]),
    ("ncat-always-ok", _BANNER, ["--sh-exec", r"while read line; do printf '+OK\r\n'; done"]),
)
_UDP: tuple[tuple[str, Truth, list[str]], ...] = (
    (
        "ncat-random-udp",
        _IMPOSTOR,
        ["--sh-exec", "dd bs=2048 count=1 of=/dev/null 2>/dev/null; head -c 11 /dev/urandom"],
    ),
)

_XINETD = """defaults
{{
  instances = 100
  per_source = UNLIMITED
  cps = 0 0
}}
service echo
{{
  type = INTERNAL UNLISTED
  id = echo-stream
  socket_type = stream
  protocol = tcp
  port = {port}
  user = root
  wait = no
  flags = IPv6 NOLIBWRAP
}}
service echo
{{
  type = INTERNAL UNLISTED
  id = echo-dgram
  socket_type = dgram
  protocol = udp
  port = {port}
  user = root
  wait = yes
  flags = IPv6 NOLIBWRAP
}}
"""


def _xinetd(site: Site) -> None:
    """Echo as in RFC 862. ncat's echo over UDP loses datagrams while it starts `cat` for a new peer."""
    folder, port = site.folder("xinetd"), site.ports.one()
    (folder / "xinetd.conf").write_text(_XINETD.format(port=port))
    files: list[str | Path] = ["-f", folder / "xinetd.conf", "-pidfile", folder / "pid", "-filelog", folder / "log"]
    site.run("xinetd", "-dontfork", *files)
    said = ("--say", r"good morning\r\n", "--every", "1")
    for transport in ("tcp", "udp"):
        site.offer(
            Service(
                name=f"xinetd-echo-{transport}",
                transport=transport,
                port=port,
                truth=_ECHO,
                clients=(talk(*said, "--seconds", "2", transport=transport),),
                sessions=(talk(*said, transport=transport),),
            )
        )


def start(site: Site) -> None:
    """Start the servers."""
    _xinetd(site)
    for transport, kinds in (("tcp", _TCP), ("udp", _UDP)):
        for name, truth, how in kinds:
            port = site.ports.one()
            udp = ["--udp"] if transport == "udp" else []
            site.run("ncat", "--listen", "--keep-open", "--max-conns", "500", *udp, *how, str(port), name=name)
            said = ("--say", r"good morning\r\n", "--every", "1")
            site.offer(
                Service(
                    name=name,
                    transport=transport,
                    port=port,
                    truth=truth,
                    clients=(talk(*said, "--seconds", "4", transport=transport),),
                    sessions=(talk(*said, transport=transport),),
                    # ncat answers UDP over IPv6 with --exec to half of the client's address (nmap 7.93)
                    families=(4,) if transport == "udp" else (4, 6),
                )
            )
