"""Torrents, trackers' answers and the settings of the peer made of libtorrent."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lab.hidden import libtorrent_peer, torrent, tracker


def test_a_torrent_describes_its_file(tmp_path: Path) -> None:
    made = torrent.make(tmp_path, "one", size=300_000, announce=tracker.ANNOUNCE)
    text = made.file.read_bytes()
    content = (tmp_path / made.content).read_bytes()
    assert len(content) == 300_000
    info = text[text.index(b"4:info") + 6 : -1]
    assert hashlib.sha1(info).digest() == made.info_hash
    pieces = [hashlib.sha1(content[at : at + (1 << 17)]).digest() for at in range(0, len(content), 1 << 17)]
    assert b"6:pieces60:" + b"".join(pieces) in info


def test_a_tracker_gives_compact_peers() -> None:
    said = tracker.answer([("10.0.0.1", 6881)])
    assert said.endswith(b"5:peers6:\x0a\x00\x00\x01\x1a\xe1e")
    assert b"5:peers0:e" in tracker.answer([])


def test_settings_for_libtorrent() -> None:
    chosen = {"port": 1, "encryption": "required", "transport": "utp", "dht": False, "upload": 5}
    made = libtorrent_peer.settings(chosen)
    assert (made["in_enc_policy"], made["enable_outgoing_tcp"], made["enable_incoming_utp"]) == (0, False, True)
