"""Packets glued together by network cards and kernel: read and set per interface (linux/ethtool.h, SIOCETHTOOL).

A queue that deals in such packets sends up to 64 KiB at a time, a tenth of a second at 5 Mbit/s, and a call waits.
CAKE takes them apart by itself, HTB does not.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from typing import Final

__all__ = ["NAMES", "read", "write"]

_SIOCETHTOOL: Final = 0x8946
_CODES: Final = {"gro": (0x2B, 0x2C), "gso": (0x23, 0x24), "tso": (0x1E, 0x1F)}
NAMES: Final = tuple(_CODES)


def _ask(interface: str, code: int, value: int) -> int:
    wanted = ctypes.create_string_buffer(struct.pack("=II", code, value), 8)
    request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(wanted))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        fcntl.ioctl(channel, _SIOCETHTOOL, request)
    return int(struct.unpack("=II", wanted.raw)[1])


def read(interface: str) -> dict[str, bool]:
    """Which are on; what the interface does not know is left out."""
    found = {}
    for name, (get, _) in _CODES.items():
        try:
            found[name] = bool(_ask(interface, get, 0))
        except OSError:
            continue
    return found


def write(interface: str, name: str, on: bool) -> bool:
    """Switch one on or off; False where the interface does not let us."""
    try:
        _ask(interface, _CODES[name][1], int(on))
    except OSError:
        return False
    return True
