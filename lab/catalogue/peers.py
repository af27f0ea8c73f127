"""Peer-to-peer: BitTorrent clients in their modes, a tracker, a Direct Connect hub, Syncthing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from lab.catalogue.entry import Entry, version_of
from lab.services.base import Client, Service, Site, Target, talk
from lab.truth import TLS, Truth

__all__ = ["PROGRAMS"]

_PIECE = 1 << 16
_KRPC = r"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"
_UHUB = """server_port={port}
server_bind_addr="{address}"
hub_name="lab"
"""


def _torrent(folder: Path) -> Path:
    """A file and the torrent that describes it, beside it."""
    data = hashlib.sha256(b"lab").digest() * (1 << 14)
    (folder / "lab.bin").write_bytes(data)
    pieces = b"".join(hashlib.sha1(data[at : at + _PIECE]).digest() for at in range(0, len(data), _PIECE))
    info = b"d6:lengthi%de4:name7:lab.bin12:piece lengthi%de6:pieces%d:%se" % (len(data), _PIECE, len(pieces), pieces)
    path = folder / "lab.torrent"
    path.write_bytes(b"d4:info" + info + b"e")
    return path


def _aria2(name: str, *, encrypted: bool) -> Callable[[Site], None]:
    def start(site: Site) -> None:
        folder, port = site.folder(name), site.ports.one()
        torrent = _torrent(folder)
        settings = ["--enable-dht=false", "--bt-enable-lpd=false", "--seed-ratio=0", "--bt-seed-unverified=true"]
        crypto = [f"--bt-require-crypto={'true' if encrypted else 'false'}"]
        site.run("aria2c", f"--listen-port={port}", *settings, *crypto, "-d", folder, torrent, name=name)
        truth = Truth(service="bittorrent", peer=True, asks=encrypted)
        client = talk("--open", r"\x13BitTorrent protocol" + "0" * 28 + "-LB0000-abcdefghijkl", "--seconds", "1")
        site.offer(Service(name=name, transport="tcp", port=port, truth=truth, clients=(client,), families=(4,)))

    return start


def _transmission(site: Site) -> None:
    folder, port = site.folder("transmission"), site.ports.one()
    _torrent(folder)
    watch = ["--watch-dir", folder, "--no-incomplete-dir", "--no-portmap", "--no-lpd", "-p", str(site.ports.one())]
    site.run("transmission-daemon", "-f", "-g", folder / "cfg", "-P", str(port), "-er", "--dht", "-w", folder, *watch)
    truth = Truth(service="bittorrent", peer=True)
    client = talk("--open", _KRPC, "--seconds", "1", transport="udp", families=(4,))
    site.offer(
        Service(name="transmission-udp", transport="udp", port=port, truth=truth, clients=(client,), families=(4,))
    )


def _tracker(site: Site) -> None:
    folder, port = site.folder("opentracker"), site.ports.one()
    folder.chmod(0o755)
    site.run("opentracker", "-i", site.address4, "-p", str(port), "-P", str(port), "-d", folder)
    asks = talk(
        *("--open", r"\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00abcd", "--seconds", "1"),
        transport="udp",
        families=(4,),
    )
    truth = Truth(service="bittorrent-tracker")
    site.offer(Service(name="opentracker-udp", transport="udp", port=port, truth=truth, clients=(asks,), families=(4,)))


def _uhub(site: Site) -> None:
    folder, port = site.folder("uhub"), site.ports.one()
    (folder / "conf").write_text(_UHUB.format(port=port, address=site.address4))
    site.run("uhub", "-c", folder / "conf")
    site.offer(
        Service(
            name="uhub",
            transport="tcp",
            port=port,
            truth=Truth(service="directconnect"),
            clients=(talk("--open", r"HSUP ADBASE ADTIGR\n", "--seconds", "1", families=(4,)),),
            families=(4,),
            product="uhub",
            version=version_of(["uhub", "-V"], r"uhub/([0-9.]+-?[a-z]*)"),
        )
    )


def _syncthing(site: Site) -> None:
    folder, port = site.folder("syncthing"), site.ports.one()
    home = folder / "home"
    config = (
        '<configuration version="35"><gui enabled="false"></gui><options>'
        f"<listenAddress>tcp://{site.address4}:{port}</listenAddress>"
        "<globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>"
        "<relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><urAccepted>-1</urAccepted>"
        "<autoUpgradeIntervalH>0</autoUpgradeIntervalH><crashReportingEnabled>false</crashReportingEnabled>"
        "</options></configuration>"
    )
    home.mkdir()
    (home / "config.xml").write_text(config)
    site.run("syncthing", "serve", f"--home={home}", "--no-browser", "--no-default-folder")

    def command(target: Target) -> list[str]:
        place = f"{target.address}:{target.port}"
        return ["timeout", "3", "openssl", "s_client", "-connect", place, "-alpn", "bep/1.0", "-quiet"]

    site.offer(
        Service(
            name="syncthing",
            transport="tcp",
            port=port,
            truth=Truth(service="syncthing", over=TLS),
            clients=(Client(command=command, families=(4,)),),
            families=(4,),
        )
    )


PROGRAMS: tuple[Entry, ...] = (
    Entry(name="aria2", start=_aria2("aria2", encrypted=False), packages=("aria2",), program="aria2c"),
    Entry(
        name="aria2-encrypted", start=_aria2("aria2-encrypted", encrypted=True), packages=("aria2",), program="aria2c"
    ),
    Entry(name="transmission", start=_transmission, packages=("transmission-daemon",), program="transmission-daemon"),
    Entry(name="opentracker", start=_tracker, packages=("opentracker",)),
    Entry(name="uhub", start=_uhub, packages=("uhub",)),
    Entry(name="syncthing", start=_syncthing, packages=("syncthing",)),
)
