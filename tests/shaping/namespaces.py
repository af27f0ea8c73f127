"""A network namespace for one test, with two veth pairs: `wan` and `lan`."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a network namespace")


def run(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH})
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


@contextmanager
def inside(*devices: str) -> Iterator[None]:
    """Move this process into a namespace with these interfaces, and back again."""
    with Path("/proc/self/ns/net").open() as home:
        _libc("unshare", 0x40000000)
        try:
            run("ip", "link", "set", "lo", "up")
            for which in ("all", "default"):  # nothing is sent that a test has not sent
                Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")
            for device in devices:
                run("ip", "link", "add", "name", device, "type", "veth", "peer", "name", f"{device}-peer")
                run("ip", "link", "set", device, "up")
                run("ip", "link", "set", f"{device}-peer", "up")
            yield
        finally:
            _libc("setns", home.fileno(), 0x40000000)


@contextmanager
def enter(namespace: Path) -> Iterator[None]:
    """Sockets made inside belong to that namespace."""
    with Path("/proc/self/ns/net").open() as home, namespace.open() as there:
        _libc("setns", there.fileno(), 0x40000000)
        try:
            yield
        finally:
            _libc("setns", home.fileno(), 0x40000000)


def _libc(name: str, *arguments: int) -> None:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)
