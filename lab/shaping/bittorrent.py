"""BitTorrent of libtorrent itself, encrypted: many peers in one process, or the one that uses them all.

    python -m lab.shaping.bittorrent peers FOLDER PORTS.json      peers at every address, half seeds and half leechers
    python -m lab.shaping.bittorrent loads FOLDER ADDRESS PORTS.json

The loader fetches one torrent from the seeds and gives another to the leechers, so both directions of the line are
full. No tracker, no DHT, no announcements: everybody is told whom to use.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["BYTES", "PIECE", "torrent"]

PIECE = 1 << 18
BYTES = 1 << 30
"""More than any run fetches. The file is a hole: reading it costs nothing."""


def torrent(name: str) -> bytes:
    """A torrent whose pieces are all zeros, of a file of `BYTES`."""
    piece = hashlib.sha1(bytes(PIECE), usedforsecurity=False).digest()
    pieces = piece * (BYTES // PIECE)
    head = b"d6:lengthi%de4:name%d:%s12:piece lengthi%de" % (BYTES, len(name), name.encode(), PIECE)
    return b"d4:info" + head + b"6:pieces%d:%see" % (len(pieces), pieces)


def _session(address: str, port: int, connections: int) -> Any:
    import libtorrent  # noqa: PLC0415 - in the laboratory's environment only

    forced = int(libtorrent.enc_policy.pe_forced)
    settings = {
        "listen_interfaces": f"{address}:{port}",
        "outgoing_interfaces": "",
        "out_enc_policy": forced,
        "in_enc_policy": forced,
        "allowed_enc_level": int(libtorrent.enc_level.pe_rc4),
        "prefer_rc4": True,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "connections_limit": connections,
        "active_limit": -1,
        "unchoke_slots_limit": 100,
        "choking_algorithm": 0,
        "allow_multiple_connections_per_ip": True,
        "connection_speed": 10,
        "aio_threads": 1,
        "alert_mask": 0,
        "max_out_request_queue": 200,
    }
    return libtorrent.session(settings)


def _add(session: Any, folder: Path, name: str, *, whole: bool, at: Path) -> Any:
    import libtorrent  # noqa: PLC0415 - likewise

    wanted = libtorrent.add_torrent_params()
    wanted.ti = libtorrent.torrent_info(str(folder / f"{name}.torrent"))
    wanted.save_path = str(at)
    at.mkdir(parents=True, exist_ok=True)
    flags = libtorrent.torrent_flags
    wanted.flags = flags.update_subscribe | flags.disable_dht | flags.disable_lsd | flags.disable_pex
    if whole:
        wanted.flags |= flags.seed_mode
        if not (at / f"{name}.bin").exists():
            with (at / f"{name}.bin").open("wb") as file:
                file.truncate(BYTES)
    return session.add_torrent(wanted)


def prepare(folder: Path) -> None:
    """Write both torrents."""
    for name in ("fetched", "given"):
        (folder / f"{name}.torrent").write_bytes(torrent(f"{name}.bin"))


def main(arguments: Sequence[str]) -> int:
    """Be all peers, or the loader."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    kind, folder = arguments[0], Path(arguments[1])
    kept = []
    if kind == "peers":
        peers = json.loads(Path(arguments[2]).read_text())
        for number, (address, port) in enumerate(peers):
            session = _session(address, port, 10)
            seed = number % 2 == 0
            place = folder / "seeds" if seed else folder / f"leecher{number}"
            kept.append((session, _add(session, folder, "fetched" if seed else "given", whole=seed, at=place)))
        print("ready", flush=True)
    else:
        address, peers = arguments[2], json.loads(Path(arguments[3]).read_text())
        session = _session(address, 0, 200)
        place = Path(tempfile.mkdtemp(dir=folder))  # what is there already, a hole, would be taken for the whole file
        fetched = _add(session, folder, "fetched", whole=False, at=place)
        given = _add(session, folder, "given", whole=True, at=folder / "loader")
        for number, peer in enumerate(peers):
            (given if number % 2 else fetched).connect_peer((str(peer[0]), int(peer[1])))
        kept.append((session, fetched))
    while True:
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
