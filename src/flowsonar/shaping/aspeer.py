"""Asking in the name of a flow's other side: for endpoints behind NAT that lets nobody else in. UDP only.

The gateway on the path sends the question with the peer's address and port, and takes the answer off the path before
the peer sees it. While that goes on, a firewall rule takes every packet of that one flow from the endpoint to the peer
out of the forwarding path and hands it here; what repeats the question's own random field is the answer, everything
else goes on to the peer at once. ICMP errors from the endpoint's address to the peer's are dropped for that time. The
peer never hears of the question. Should this program be killed, the rule's own time-out ends it within `_HELD_S`.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Final

from flowsonar.errors import ShapingError
from flowsonar.model import Endpoint
from flowsonar.shaping.datagram import build, finished, parse
from flowsonar.shaping.nflog import PacketLog

__all__ = ["COMMENT", "Key", "PeerLine", "PeerSocket", "clear", "rules"]

COMMENT: Final = "made by flowsonar --ask-as-peer"
_TABLE: Final = "inet flowsonar_peers"
_HELD_S: Final = 6
"""The longest that a flow's packets pass through here, whatever happens."""
_LINGER_S: Final = 1.0
"""An answer may come late: for this long after the conversation it is still taken off the path."""
_FLOWS: Final = 16
"""Flows held at a time; more questions wait for no one and are not put."""
_PASSED: Final = 2_000
"""Packets of one flow that pass through here; then it is let go: it is too fast for this detour."""
_PATH: Final = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin"

Key = tuple[int, bytes]
"""Where our random field stood in the question, and the field."""


def rules(group: int) -> str:
    """The table, as a script for nft."""
    lines = [f"table {_TABLE} {{", f'comment "{COMMENT}"']
    for number, family in (("4", "ipv4_addr"), ("6", "ipv6_addr")):
        lines.append(f"set held{number} {{ type {family} . inet_service . {family} . inet_service; flags timeout; }}")
        lines.append(f"set quiet{number} {{ type {family} . {family}; flags timeout; }}")
    lines.append("chain take {")
    lines.append("type filter hook forward priority -1;")
    for number, ip, icmp in (("4", "ip", "icmp"), ("6", "ip6", "icmpv6")):
        flow = f"{ip} saddr . udp sport . {ip} daddr . udp dport"
        lines.append(f"{flow} @held{number} log group {group} snaplen 65535 drop")
        lines.append(f"{ip} saddr . {ip} daddr @quiet{number} {icmp} type destination-unreachable drop")
    return "\n".join([*lines, "}", "}", ""])


def _nft(script: str, *, quietly: bool = False) -> str:
    """What nft printed; a failure is nothing where that is expected."""
    program = shutil.which("nft") or shutil.which("nft", path=_PATH)
    if program is None:
        raise ShapingError("asking as the peer needs nft: apt-get install nftables")
    done = subprocess.run([program, "-f", "-"], input=script, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode != 0 and not quietly:
        first = done.stderr.strip().splitlines()
        raise ShapingError(f"asking as the peer: nft: {first[0] if first else 'failed'}")
    return done.stdout


def clear() -> bool:
    """Take away the table that a killed run has left; False where there is none. Raises ShapingError."""
    if not _present():
        return False
    _nft(f"delete table {_TABLE}\n")
    return True


def _present() -> bool:
    """Whether our table is there. Raises ShapingError where one of that name is not ours."""
    listed = _nft(f"list table {_TABLE}\n", quietly=True)
    if listed and COMMENT not in listed:
        raise ShapingError(
            f"there is a table `{_TABLE}` that flowsonar did not make; it is left alone: rename it, or remove it with "
            f"`nft delete table {_TABLE}`, and start again"
        )
    return bool(listed)


class _Hold:
    """One flow whose packets from the endpoint come here."""

    __slots__ = ("answers", "keys", "passed", "until_s")

    def __init__(self, answers: socket.socket) -> None:
        self.answers: socket.socket | None = answers
        self.keys: list[Key] = []
        self.passed = 0
        self.until_s = time.monotonic() + _HELD_S

    def is_answer(self, payload: bytes) -> bool:
        """Whether it repeats a field of ours: four bytes anywhere, fewer only where they stood."""
        return any(key in payload if len(key) >= 4 else payload[at : at + len(key)] == key for at, key in self.keys)


class PeerLine:
    """Holds flows, speaks for their peers, lets everything else pass. One in a program; `close` it at the end."""

    def __init__(self) -> None:
        """Raises ShapingError where the kernel or the privilege is missing."""
        self._log = PacketLog()
        self._holds: dict[tuple[Endpoint, Endpoint], _Hold] = {}
        self._lock = threading.Lock()
        self._ended = False
        self.counts = dict.fromkeys(("asked", "answers", "passed_on", "let_go"), 0)
        try:
            self._raw = {
                socket.AF_INET: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
                socket.AF_INET6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
            }
        except OSError as error:
            self._log.close()
            raise ShapingError(f"asking as the peer needs raw sockets ({error.strerror}): run as root") from error
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._work, name="ask-as-peer", daemon=True)
        try:
            begin = f"delete table {_TABLE}\n" if _present() else ""
            _nft(f"{begin}{rules(self._log.group)}")
        except (ShapingError, subprocess.TimeoutExpired):
            self._end()
            raise
        self._thread.start()

    def close(self) -> None:
        """Let all flows go and take the rules away."""
        with contextlib.suppress(ShapingError, subprocess.TimeoutExpired):
            clear()
        self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        os.write(self._stop_write, b".")
        if self._thread.is_alive():
            self._thread.join()
        for end in self._raw.values():
            end.close()
        self._log.close()
        for descriptor in (self._stop_read, self._stop_write):
            os.close(descriptor)

    def hold(self, endpoint: Endpoint, peer: Endpoint, answers: socket.socket) -> bool:
        """From now on what the endpoint sends to the peer in this flow comes here; False where there is no room."""
        with self._lock:
            before = self._holds.get((endpoint, peer))
            if before is None and len(self._holds) >= _FLOWS:
                return False
            if before is not None:
                if before.answers is not None:
                    return False
                before.answers, before.until_s = answers, time.monotonic() + _HELD_S  # the next question
            else:
                self._holds[endpoint, peer] = _Hold(answers)
        number = "6" if ":" in endpoint.address else "4"
        flow = f"{endpoint.address} . {endpoint.port} . {peer.address} . {peer.port} timeout {_HELD_S}s"
        pair = f"{endpoint.address} . {peer.address} timeout {_HELD_S}s"
        script = ""
        for name, element in ((f"held{number}", flow), (f"quiet{number}", pair)):
            # An element that is there already would keep its old time; this way it gets a new one, and no packet slips
            # through in between.
            plain = element.partition(" timeout")[0]
            script += f"add element {_TABLE} {name} {{ {plain} }}\ndelete element {_TABLE} {name} {{ {plain} }}\n"
            script += f"add element {_TABLE} {name} {{ {element} }}\n"
        try:
            _nft(script)
        except ShapingError:
            self._forget(endpoint, peer)
            raise
        return True

    def speak(self, endpoint: Endpoint, peer: Endpoint, payload: bytes, key: Key) -> None:
        """Send a question in the peer's name. Raises OSError."""
        with self._lock:
            hold = self._holds.get((endpoint, peer))
            if hold is None:
                raise OSError("this flow is not held")
            hold.keys.append(key)
        self.counts["asked"] += 1
        self._send(endpoint.address, build(peer, endpoint, payload))

    def release(self, endpoint: Endpoint, peer: Endpoint, answers: socket.socket) -> None:
        """The conversation is over; late answers are taken off the path a little longer."""
        with self._lock:
            hold = self._holds.get((endpoint, peer))
            if hold is not None and hold.answers is answers:
                hold.answers = None
                hold.until_s = min(hold.until_s, time.monotonic() + _LINGER_S)

    def _send(self, address: str, packet: bytes) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._raw[family].sendto(packet, (address, 0))

    def _forget(self, endpoint: Endpoint, peer: Endpoint) -> None:
        with self._lock:
            self._holds.pop((endpoint, peer), None)

    def _work(self) -> None:
        """The thread: packets as they come, flows whose time is over."""
        while True:
            ready, _, _ = select.select([self._log.fileno(), self._stop_read], [], [], 0.2)
            for packet in self._log.read():
                self._take(packet)
            if self._stop_read in ready:
                return
            now_s = time.monotonic()
            with self._lock:
                over = [key for key, hold in self._holds.items() if hold.until_s <= now_s or hold.passed > _PASSED]
            for endpoint, peer in over:
                self._let_go(endpoint, peer)

    def _let_go(self, endpoint: Endpoint, peer: Endpoint) -> None:
        number = "6" if ":" in endpoint.address else "4"
        flow = f"{endpoint.address} . {endpoint.port} . {peer.address} . {peer.port}"
        with contextlib.suppress(ShapingError, subprocess.TimeoutExpired):  # its own time-out may have been first
            _nft(f"delete element {_TABLE} held{number} {{ {flow} }}\n")
        with contextlib.suppress(ShapingError, subprocess.TimeoutExpired):
            _nft(f"delete element {_TABLE} quiet{number} {{ {endpoint.address} . {peer.address} }}\n")
        self.counts["let_go"] += 1
        self._forget(endpoint, peer)

    def _take(self, packet: bytes) -> None:
        """An answer is kept, everything else goes on to whom it was sent."""
        datagram = parse(packet)
        if datagram is not None:
            with self._lock:
                hold = self._holds.get((datagram.source, datagram.destination))
                answer = hold is not None and hold.is_answer(datagram.payload)
                if hold is not None:
                    hold.passed += 1
                answers = hold.answers if hold is not None else None
            if answer:
                self.counts["answers"] += 1
                if answers is not None:
                    with contextlib.suppress(OSError):
                        answers.send(datagram.payload)
                return
            packet = finished(packet)
        version = packet[0] >> 4 if packet else 0
        with contextlib.suppress(OSError, IndexError):
            if version == 4:
                self._send(socket.inet_ntop(socket.AF_INET, packet[16:20]), packet)
            elif version == 6:
                self._send(socket.inet_ntop(socket.AF_INET6, packet[24:40]), packet)
            self.counts["passed_on"] += 1


class PeerSocket(socket.socket):
    """A datagram socket as the prober uses one, that speaks in a peer's name."""

    def __init__(self, line: PeerLine, peer: Endpoint, endpoint: Endpoint, key: Callable[[bytes], Key | None]) -> None:
        """`key` finds the field in a question by which its answer is known; None where it may not be put."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        super().__init__(fileno=ours.detach())
        self.setblocking(False)
        self._line, self._peer, self._endpoint, self._key = line, peer, endpoint, key
        self._theirs = theirs
        self._held = False

    def bind(self, _address: object) -> None:
        """Its address is the peer's."""

    def getsockname(self) -> tuple[str, int]:
        """The peer's address, as the endpoint sees it."""
        return self._peer.address, self._peer.port

    def connect(self, _address: object) -> None:
        """Hold the flow. Raises OSError where that cannot be."""
        try:
            self._held = self._line.hold(self._endpoint, self._peer, self._theirs)
        except (ShapingError, subprocess.TimeoutExpired) as error:
            raise OSError(str(error)) from error
        if not self._held:
            raise OSError("this flow is held already, or too many are")

    def send(self, data: bytes | memoryview, _flags: int = 0) -> int:  # type: ignore[override]
        """Put a question."""
        payload = bytes(data)
        key = self._key(payload)
        if key is None:
            raise PermissionError("this question is not one to be put in another's name")
        self._line.speak(self._endpoint, self._peer, payload, key)
        return len(payload)

    def close(self) -> None:
        """The conversation is over."""
        if self._held:
            self._held = False
            self._line.release(self._endpoint, self._peer, self._theirs)
        self._theirs.close()
        super().close()
