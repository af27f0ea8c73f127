"""A client, a gateway and a server in network namespaces of their own, for tests that need the real kernel."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

_Result = TypeVar("_Result")

CLIENT, SERVER = "10.81.1.2", "10.81.2.2"
CLIENT6, SERVER6 = "fd81:1::2", "fd81:2::2"
GATEWAY_OUTSIDE = "10.81.2.1"


class World:
    """Three namespaces: `client` - `gateway` (interfaces `lan` and `wan`) - `server`."""

    def __init__(self, name: str) -> None:
        self.client, self.gateway, self.server = (f"{name}-{part}" for part in ("client", "gateway", "server"))
        self.all = (self.client, self.gateway, self.server)

    def run(self, namespace: str, *command: str, given: str = "") -> str:
        """Run a program there; its output. A failure is the test's."""
        done = subprocess.run(
            ["ip", "netns", "exec", namespace, *command], input=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def within(self, namespace: str, call: Callable[[], _Result]) -> _Result:
        """Call a function in a thread that is in that namespace: sockets that it makes stay there."""
        results: list[_Result] = []
        failures: list[BaseException] = []

        def body() -> None:
            with Path(f"/run/netns/{namespace}").open() as file:
                assert ctypes.CDLL(None).setns(file.fileno(), 0x40000000) == 0
            try:
                results.append(call())
            except BaseException as error:  # noqa: BLE001 - raised again below
                failures.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        return results[0]

    def nft(self, *arguments: str, given: str = "") -> str:
        """Run nft on the gateway."""
        return self.run(self.gateway, "nft", *arguments, given=given)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def world() -> Iterator[World]:
    """Make it, and remove it however the test ends."""
    made = World(f"fsx1-{os.getpid()}")
    try:
        for name in made.all:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        for number, (end, peer) in enumerate(((made.client, "lan"), (made.server, "wan")), 1):
            _ip("-n", end, "link", "add", "eth", "type", "veth", "peer", "name", peer, "netns", made.gateway)
            for namespace, interface, host in ((end, "eth", 2), (made.gateway, peer, 1)):
                _ip("-n", namespace, "address", "add", f"10.81.{number}.{host}/24", "dev", interface)
                _ip("-n", namespace, "address", "add", f"fd81:{number}::{host}/64", "dev", interface, "nodad")
                _ip("-n", namespace, "link", "set", interface, "up")
            _ip("-n", end, "route", "add", "default", "via", f"10.81.{number}.1")
            _ip("-n", end, "route", "add", "default", "via", f"fd81:{number}::1")
        for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            made.run(made.gateway, "sysctl", "-qw", setting)
        yield made
    finally:
        for name in made.all:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
