"""For all tests: hypothesis without timing, ordinary signals, no test server on a port that is never asked."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from flowsonar.probes.scope import NEVER_PORTS

# Machines are noisy and tests are never timed; in strict mode the same inputs come each time.
settings.register_profile(
    "flowsonar",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("FLOWSONAR_STRICT")),
)
settings.load_profile("flowsonar")


# Whoever runs the tests in the background (`nohup`, `&`) has these ignored, and programs inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _hold_never_ports() -> Iterator[None]:
    """Take the never-ports out of what the kernel gives to servers that ask for any port."""
    low, high = (int(number) for number in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    held = []
    for never in NEVER_PORTS:
        for port in range(max(low, never.first), min(high, never.last) + 1):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                    holder = socket.socket(family, kind)
                    held.append(holder)
                    with suppress(OSError):  # somebody has it, or there is no IPv6: the kernel will not give it either
                        holder.bind((address, port))
    yield
    for holder in held:
        holder.close()
