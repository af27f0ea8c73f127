"""Private namespaces for the demonstration: no root needed, nothing leaves them, they vanish with the last process.

Three network namespaces stand in a row, as at an operator's: clients, gateway, servers. The gateway is the namespace of
the process that calls `enter`; the two others belong to its worker processes and are known by their process number.
Everything goes over netlink (`pyroute2`), since a fresh machine may have no `ip` program.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyroute2 import IPRoute, NetlinkError

from flowsonar.errors import FlowsonarError

__all__ = [
    "CLIENTS",
    "SERVERS",
    "Link",
    "NamespaceError",
    "configure",
    "connect",
    "die_with_parent",
    "enter",
    "forward",
    "separate",
]

CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
PR_SET_PDEATHSIG: Final = 1
IFA_F_NODAD: Final = 0x02
"""No duplicate address detection: the address is usable at once."""

_USERNS_SWITCHES: Final = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
)


class NamespaceError(FlowsonarError):
    """The machine does not let us make the namespaces; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One side of the gateway: its interface there, its networks, and where the hosts' numbers begin."""

    interface: str
    network4: str
    network6: str

    def address4(self, host: int) -> str:
        """IPv4 address of host number `host`; 1 is the gateway."""
        return f"{self.network4}.{host}"

    def address6(self, host: int) -> str:
        """IPv6 address of host number `host`; 1 is the gateway."""
        return f"{self.network6}::{host:x}"


CLIENTS: Final = Link(interface="gw0", network4="10.77.1", network6="fd77:1")
SERVERS: Final = Link(interface="gw1", network4="10.77.2", network6="fd77:2")


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Let the kernel send this process `number` when its parent ends, however it ends."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel knew
        os.kill(os.getpid(), number)


def _unshare(flags: int) -> int:
    """Give 0 or the error number."""
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.unshare(flags) == 0 else ctypes.get_errno()


def _advice(reason: str) -> NamespaceError:
    advice = [f"sudo sysctl {set_to}" for path, bad, set_to in _USERNS_SWITCHES if _reads(path) == bad]
    inside = "; in a container start that with --privileged" if os.geteuid() == 0 or not advice else ""
    allow = f", or allow user namespaces with `{'` and `'.join(advice)}`" if advice else ""
    return NamespaceError(f"cannot make a private network namespace ({reason}): run the demo as root{allow}{inside}")


def _reads(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def enter() -> None:
    """Move this process, which must have one thread, into namespaces of its own: network, and user where not root.

    Raises NamespaceError with what to do where the machine forbids it.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        problem = _unshare(CLONE_NEWNET)
        if problem == 0:
            return
        if problem != errno.EPERM:
            raise _advice(os.strerror(problem))
    problem = _unshare(CLONE_NEWUSER | CLONE_NEWNET)
    if problem:
        raise _advice("there are too many of them" if problem == errno.ENOSPC else os.strerror(problem))
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise _advice(error.strerror or str(error)) from error


def separate() -> None:
    """Move a worker into a network namespace of its own."""
    problem = _unshare(CLONE_NEWNET)
    if problem:
        raise _advice(os.strerror(problem))
    _no_address_detection()


def forward() -> bool:
    """Let this namespace forward packets; gives whether IPv6 is there too."""
    try:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    except OSError as error:
        raise NamespaceError(
            f"cannot switch on forwarding in the demo's own namespace ({error.strerror}): /proc/sys is read-only here; "
            "in a container start that with --privileged"
        ) from error
    _no_address_detection()
    try:
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    except OSError:
        return False
    return True


def _no_address_detection() -> None:
    """Make new interfaces usable at once: link-local addresses would be tentative for a second or two (RFC 4862)."""
    for which in ("all", "default"):
        with contextlib.suppress(OSError):
            Path(f"/proc/sys/net/ipv6/conf/{which}/accept_dad").write_text("0")


def connect(link: Link, worker: int, *, ipv6: bool) -> None:
    """Join this namespace with that of process `worker`: `link.interface` here, `eth0` there."""
    try:
        with IPRoute() as netlink:
            peer = {"ifname": "eth0", "net_ns_pid": worker}
            netlink.link("add", ifname=link.interface, kind="veth", peer=peer)
        configure(link.interface, [link.address4(1)], [link.address6(1)] if ipv6 else [])
    except (OSError, NetlinkError) as error:
        raise _advice(str(error)) from error


def configure(interface: str, addresses4: list[str], addresses6: list[str], gateway: Link | None = None) -> None:
    """Give `interface` its addresses (networks of /24 and /64) and, for a host, the gateway as default route."""
    with IPRoute() as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname="lo")[0], state="up")
        index = netlink.link_lookup(ifname=interface)[0]
        netlink.link("set", index=index, state="up")
        for address in addresses4:
            netlink.addr("add", index=index, address=address, prefixlen=24)
        for address in addresses6:
            netlink.addr("add", index=index, address=address, prefixlen=64, flags=IFA_F_NODAD)
        if gateway is not None:
            netlink.route("add", dst="0.0.0.0/0", gateway=gateway.address4(1))
            if addresses6:
                netlink.route("add", dst="::/0", gateway=gateway.address6(1))
