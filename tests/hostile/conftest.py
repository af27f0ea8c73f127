"""A network namespace of the test's own: what runs in it sees no other network, and none of it gets out."""

import ctypes
import os
import subprocess
from collections.abc import Iterator

import pytest

_CLONE_NEWNET = 0x40000000


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def network() -> Iterator[None]:
    """This thread, and the processes and threads it starts, in a new namespace with its loopback up. Needs root."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        assert libc.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            ip("link", "set", "lo", "up")
            yield
        finally:
            assert libc.setns(before, _CLONE_NEWNET) == 0
    finally:
        os.close(before)


@pytest.fixture
def wire(network: None) -> tuple[str, str]:
    """Two interfaces joined by a wire: what is sent into the second comes out of the first."""
    ip("link", "add", "fsQ0", "type", "veth", "peer", "name", "fsQ1")
    for name in ("fsQ0", "fsQ1"):
        ip("link", "set", name, "addrgenmode", "none")
        ip("link", "set", name, "up")
    return "fsQ0", "fsQ1"
