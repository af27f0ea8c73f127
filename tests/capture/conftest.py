"""A network namespace of the test's own, so that no other packet is seen and nothing is left behind."""

import ctypes
import os
import subprocess
from collections.abc import Iterator

import pytest

_CLONE_NEWNET = 0x40000000


def ip(*arguments: str) -> None:
    """Run `ip` in the namespace that this thread is in."""
    subprocess.run(["ip", *arguments], check=True)


def add_veth() -> None:
    """Two interfaces, what goes into `fsB0` comes out of `fsB1`; both are up and send nothing by themselves."""
    ip("link", "add", "fsB0", "type", "veth", "peer", "name", "fsB1")
    for name in ("fsB0", "fsB1"):
        ip("link", "set", name, "addrgenmode", "none")
        ip("link", "set", name, "up")


@pytest.fixture
def namespace() -> Iterator[None]:
    """This thread in a new network namespace with its loopback up, gone at the end. Needs root and `ip`."""
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
