"""Streams: Icecast, nginx's RTMP module, srt-live-transmit."""

from __future__ import annotations

from lab.catalogue.entry import Entry, version_of
from lab.services.base import Client, Service, Site, Target
from lab.truth import Truth

__all__ = ["PROGRAMS"]

_ICECAST = """<icecast><limits><clients>10</clients><sources>2</sources></limits>
<authentication><source-password>lab</source-password><admin-user>lab</admin-user><admin-password>lab</admin-password>
</authentication><hostname>server.lab.example</hostname><listen-socket><port>{port}</port></listen-socket>
<paths><basedir>/usr/share/icecast2</basedir><logdir>{folder}</logdir><webroot>/usr/share/icecast2/web</webroot>
<adminroot>/usr/share/icecast2/admin</adminroot></paths><logging><errorlog>-</errorlog><accesslog>-</accesslog></logging>
<security><chroot>0</chroot><changeowner><user>nobody</user><group>nogroup</group></changeowner></security></icecast>
"""
_RTMP = """load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
rtmp {{ server {{ listen {port}; application live {{ live on; }} }} }}
"""


def _icecast(site: Site) -> None:
    folder, port = site.folder("icecast", "nobody"), site.ports.one()
    (folder / "icecast.xml").write_text(_ICECAST.format(folder=folder, port=port))
    site.run("icecast2", "-c", folder / "icecast.xml")

    def command(target: Target) -> list[str]:
        return ["curl", "-sS", "-o", "/dev/null", f"http://{target.host}:{target.port}/status-json.xsl"]

    site.offer(
        Service(
            name="icecast",
            transport="tcp",
            port=port,
            truth=Truth(service="http"),
            clients=(Client(command=command, families=(4,)),),
            families=(4,),
            product="Icecast",
            version=version_of(["icecast2", "-v"], r"Icecast ([0-9.]+)"),
        )
    )


def _source(address: str) -> list[str]:
    picture = ["ffmpeg", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=5", "-t", "3"]
    return ["timeout", "8", *picture, "-c:v", "flv", "-f", "flv", address]


def _rtmp(site: Site) -> None:
    folder, port = site.folder("rtmp"), site.ports.one()
    (folder / "nginx.conf").write_text(_RTMP.format(folder=folder, port=port))
    site.run("nginx", "-p", folder, "-c", folder / "nginx.conf", name="nginx-rtmp")

    def command(target: Target) -> list[str]:
        return _source(f"rtmp://{target.host}:{target.port}/live/lab")

    truth, client = Truth(service="rtmp"), Client(command=command, families=(4,))
    site.offer(Service(name="nginx-rtmp", transport="tcp", port=port, truth=truth, clients=(client,), families=(4,)))


def _srt(site: Site) -> None:
    port = site.ports.one()
    place = f"srt://{site.address4}:{port}?mode=listener"
    site.run("srt-live-transmit", "-a", "no", place, "file://con", name="srt")

    def command(target: Target) -> list[str]:
        there = f"srt://{target.address}:{target.port}?mode=caller"
        return ["timeout", "4", "srt-live-transmit", "-a", "no", there, "file://con"]

    truth, client = Truth(service="srt"), Client(command=command, families=(4,))
    site.offer(Service(name="srt", transport="udp", port=port, truth=truth, clients=(client,), families=(4,)))


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="icecast", start=_icecast, packages=("icecast2",), program="icecast2"),
    Entry(
        name="nginx-rtmp",
        start=_rtmp,
        packages=("nginx-light", "libnginx-mod-rtmp", "ffmpeg"),
        program="/usr/lib/nginx/modules/ngx_rtmp_module.so",
    ),
    Entry(name="srt", start=_srt, packages=("srt-tools",), program="srt-live-transmit"),
)
