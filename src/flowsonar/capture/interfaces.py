"""The network interfaces of this machine (of this network namespace), as far as capturing needs to know them."""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Final

__all__ = ["describe_missing", "hardware_type", "interfaces", "is_loopback", "is_up"]

# linux/sockios.h, linux/if.h
_SIOCGIFFLAGS: Final = 0x8913
_SIOCGIFHWADDR: Final = 0x8927
_IFF_UP: Final = 0x1
_IFF_LOOPBACK: Final = 0x8
_NAME_BYTES: Final = 16


def interfaces() -> list[str]:
    """Names of all interfaces, loopback first, then by number."""
    return [name for _, name in sorted(socket.if_nameindex())]


def describe_missing(name: str) -> str:
    """What to say when there is no interface of that name."""
    there = interfaces()
    return f"no interface {name!r}: there {'is' if len(there) == 1 else 'are'} {', '.join(there) or 'none at all'}"


def is_up(name: str) -> bool:
    """Whether the interface is there and up."""
    return bool(_flags(name) & _IFF_UP)


def is_loopback(name: str) -> bool:
    """Whether the interface is there and a loopback."""
    return bool(_flags(name) & _IFF_LOOPBACK)


def hardware_type(name: str) -> int | None:
    """The ARPHRD_ number of the interface; None where there is no such interface."""
    return _ask(name, _SIOCGIFHWADDR)  # ifr_hwaddr.sa_family


def _flags(name: str) -> int:
    return _ask(name, _SIOCGIFFLAGS) or 0


def _ask(name: str, request: int) -> int | None:
    """The 16 bits behind the name in `struct ifreq`; None where there is no such interface."""
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        return None
    if not 0 < len(raw) < _NAME_BYTES or b"\0" in raw:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
        try:
            answer = fcntl.ioctl(asking, request, struct.pack("40s", raw))
        except OSError:
            return None
    return int(struct.unpack_from("=H", answer, _NAME_BYTES)[0])
