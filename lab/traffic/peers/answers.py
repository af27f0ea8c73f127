"""Stand-ins for servers that Debian and PyPI do not have: `python -m lab.traffic.peers.answers WHAT ADDRESS PORT`.

They answer what their specifications say, and no more: A2S_INFO (Source engine), a RakNet ping (Bedrock), IAX2's
registration and poke, TeamSpeak 3's first packet.
"""

from __future__ import annotations

import secrets
import socket
import sys
import time
from collections.abc import Callable

_MAGIC = bytes.fromhex("00ffff00fefefefefdfdfdfd12345678")


def _source(said: bytes) -> bytes | None:
    if not said.startswith(b"\xff\xff\xff\xffT"):
        return None
    if len(said) < 29:  # no challenge yet
        return b"\xff\xff\xff\xffA" + b"\x11\x22\x33\x44"
    return (
        b"\xff\xff\xff\xff\x49\x11The laboratory\0crossfire\0valve\0Half-Life\0\x46\x00\x00\x10\x00dl\x00\x011.1.2.7\0"
        b"\x80\x87\x69"
    )


def _bedrock(said: bytes) -> bytes | None:
    if len(said) < 33 or said[0] != 1 or said[9:25] != _MAGIC:
        return None
    text = b"MCPE;The laboratory;390;1.14.60;0;10;13253860892328930865;lab;Survival;1;19132;19133;"
    return b"\x1c" + said[1:9] + bytes(8) + _MAGIC + len(text).to_bytes(2, "big") + text


_IAX_EMPTY_ACKS = {0x0D: 0x0F, 0x1E: 0x03}  # REGREQ to REGACK, POKE to PONG


def _iax(said: bytes) -> bytes | None:
    if len(said) < 12 or not said[0] & 0x80 or said[10] != 6 or said[11] not in _IAX_EMPTY_ACKS:
        return None
    call = int.from_bytes(said[:2], "big") & 0x7FFF
    head = (0x8000 | 7).to_bytes(2, "big") + call.to_bytes(2, "big") + said[4:8] + bytes((0, said[9] + 1, 6))
    return head + bytes((_IAX_EMPTY_ACKS[said[11]],)) + (b"\x13\x02\x00\x05" if said[11] == 0x0D else b"")


def _teamspeak(said: bytes) -> bytes | None:
    if not said.startswith(b"TS3INIT1") or len(said) < 34:
        return None
    return b"TS3INIT1\x00\x65\x88\x01" + secrets.token_bytes(16) + said[25:21:-1]


_ANSWERS: dict[str, Callable[[bytes], bytes | None]] = {
    "source": _source,
    "bedrock": _bedrock,
    "iax": _iax,
    "teamspeak": _teamspeak,
}


def _counter(end: socket.socket) -> None:
    """Answer nothing that anybody knows: a number that goes up and random bytes, ten times a second."""
    _, where = end.recvfrom(65536)
    for number in range(200):
        end.sendto(number.to_bytes(4, "little") + secrets.token_bytes(60), where)
        time.sleep(0.1)


if __name__ == "__main__":
    what, address, port = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind((address, int(port)))
        while True:
            if what == "counter":
                _counter(end)
                continue
            said, where = end.recvfrom(65536)
            answer = _ANSWERS[what](said)
            if answer is not None:
                end.sendto(answer, where)
