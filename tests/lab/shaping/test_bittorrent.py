import hashlib

from lab.shaping.bittorrent import BYTES, PIECE, torrent


def test_the_torrent_describes_a_file_of_zeros() -> None:
    made = torrent("x.bin")
    assert made.startswith(b"d4:infod6:lengthi%de4:name5:x.bin" % BYTES)
    piece = hashlib.sha1(bytes(PIECE), usedforsecurity=False).digest()
    assert made.endswith(piece + b"ee")
    assert made.count(piece) == BYTES // PIECE
