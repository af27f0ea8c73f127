"""The least that asking a peer takes: a bare client that begins when a packet of the peer's transfer passes.

    python -m lab.hidden.bare INTERFACE ADDRESS:PORT OTHER-ADDRESS

It waits for a packet between the two addresses, connects to the peer at once, says a key of message stream encryption
and waits for the first byte or the end. Printed as JSON: a time for each try, in milliseconds from that packet to the
peer's first byte; null where none came in time. No label that rests on the peer's answer can come sooner.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Sequence

__all__ = ["TRIES", "between", "main"]

TRIES = 3
_ETH_P_ALL = 3
_PACKET_S = 3.0
"""The longest wait for a packet of the transfer: clients with an upload limit send once a second at least."""
_ANSWER_S = 3.0
_KEY = 150
"""A public key of 96 bytes and padding: any bytes are a key."""
_PAUSE_S = 0.13
"""Between two tries; no divisor of a turn, so that they do not all begin at the same place of one."""


def between(frame: bytes, first: str, second: str) -> bool:
    """Whether an Ethernet frame carries TCP over IPv4 between two addresses, in either direction."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00" or frame[23] != 6:
        return False
    return {frame[26:30], frame[30:34]} == {socket.inet_aton(first), socket.inet_aton(second)}


def _first_byte_ms(interface: str, peer: tuple[str, int], other: str) -> float | None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)) as wire:
        wire.bind((interface, 0))
        wire.settimeout(_PACKET_S)
        end_s = time.monotonic() + _PACKET_S
        while not between(wire.recv(256), peer[0], other):
            if time.monotonic() > end_s:
                return None
    seen_s = time.monotonic()
    with socket.create_connection(peer, timeout=_ANSWER_S) as line:
        line.sendall(os.urandom(_KEY))
        return (time.monotonic() - seen_s) * 1000 if line.recv(1) else None


def main(words: Sequence[str]) -> int:
    """Try a few times."""
    interface, peer, other = words
    address, _, port = peer.rpartition(":")
    found: list[float | None] = []
    for _ in range(TRIES):
        try:
            found.append(_first_byte_ms(interface, (address, int(port)), other))
        except OSError:
            found.append(None)
        time.sleep(_PAUSE_S)
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
