"""A telephone: calls or is called by SIP (RFC 3261), then speaks 50 packets a second each way (RTP, RFC 3550).

    python -m lab.shaping.call --listen ADDRESS --log FILE                           is called, until SIGTERM
    python -m lab.shaping.call --listen ADDRESS --call ADDRESS:PORT --seconds S --log FILE

The voice of each packet begins with the time at which it was sent; the other side writes one line for each that came:
sequence number, time sent, time received (by the kernel), all in nanoseconds of the same machine's clock.
"""

from __future__ import annotations

import argparse
import random
import re
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab.instrument import first

__all__ = ["Voice", "answer", "invite", "media_port", "sdp"]

_SO_TIMESTAMPNS = 35  # asm-generic/socket.h
_PERIOD_NS = 20_000_000
_SAMPLES = 160
_PCMU = 0


def sdp(address: str, port: int) -> str:
    """What is offered: one stream of PCMU (RFC 4566)."""
    lines = ("v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0", f"m=audio {port} RTP/AVP 0")
    return "".join(f"{line}\r\n" for line in (*lines, "a=rtpmap:0 PCMU/8000"))


def invite(method: str, target: str, own: tuple[str, int], call: str, body: str, number: int = 1) -> bytes:
    """A request of one call."""
    host, port = own
    lines = [
        f"{method} sip:lab@{target} SIP/2.0",
        f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{call}{method.lower()};rport",
        "Max-Forwards: 70",
        f"From: <sip:caller@{host}>;tag={call}",
        f"To: <sip:lab@{target}>" + ("" if method == "INVITE" else ";tag=callee"),
        f"Call-ID: {call}@{host}",
        f"CSeq: {number} {method}",
        f"Contact: <sip:caller@{host}:{port}>",
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def answer(request: str, status: str, contact: str, body: str) -> bytes:
    """The answer to a request: its own Via, From, Call-ID and CSeq come back."""
    kept = [line for line in request.split("\r\n") if re.match(r"(?i)(via|from|call-id|cseq|v|f|i):", line)]
    to = next((line for line in request.split("\r\n") if re.match(r"(?i)(to|t):", line)), "To: <sip:lab>")
    to += "" if "tag=" in to else ";tag=callee"
    lines = [f"SIP/2.0 {status}", *kept, to, f"Contact: <sip:lab@{contact}>", "Allow: INVITE, ACK, BYE, OPTIONS"]
    lines += ["Content-Type: application/sdp"] if body else []
    return ("\r\n".join([*lines, f"Content-Length: {len(body)}"]) + "\r\n\r\n" + body).encode()


def media_port(message: str) -> int | None:
    """The port that an offer or its answer names for sound."""
    found = re.search(r"^m=audio (\d{1,5}) ", message, re.MULTILINE)
    return int(found[1]) if found else None


class Voice:
    """One direction each way between two RTP ports."""

    def __init__(self, address: str, log: Path) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((address, 0))
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])
        self.to: tuple[str, int] | None = None
        self._log = log.open("w")
        self._number = random.randrange(1 << 15)
        self._clock = random.randrange(1 << 31)
        self._source = random.randrange(1 << 32)
        self._next_ns = 0
        self.sent = 0

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def wait_s(self) -> float:
        """Until the next packet is to be sent."""
        return max(0.0, (self._next_ns - time.time_ns()) / 1e9) if self.to else 0.5

    def send(self) -> None:
        """Send what is due."""
        if self.to is None:
            return
        now_ns = time.time_ns()
        if not self._next_ns:
            self._next_ns = now_ns
        if now_ns < self._next_ns:
            return
        header = struct.pack("!BBHII", 0x80, _PCMU, self._number & 0xFFFF, self._clock & 0xFFFFFFFF, self._source)
        voice = struct.pack("!QI", time.time_ns(), self.sent) + random.randbytes(_SAMPLES - 12)
        self._socket.sendto(header + voice, self.to)
        self.sent += 1
        self._number += 1
        self._clock += _SAMPLES
        self._next_ns = max(self._next_ns + _PERIOD_NS, now_ns - 5 * _PERIOD_NS)

    def receive(self) -> tuple[str, int] | None:
        """Write down what came; gives the last sender."""
        sender = None
        while True:
            try:
                data, ancillary, _, sender = self._socket.recvmsg(2048, 64)
            except BlockingIOError:
                return sender
            received_ns = time.time_ns()
            for level, kind, stamp in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                    seconds, nanoseconds = struct.unpack_from("qq", stamp)
                    received_ns = seconds * 1_000_000_000 + nanoseconds
            if len(data) == 12 + _SAMPLES and data[0] == 0x80:
                sent_ns, count = struct.unpack_from("!QI", data, 12)
                self._log.write(f"{count} {sent_ns} {received_ns}\n")

    def close(self) -> None:
        """End, and say how many were sent."""
        self._log.write(f"sent {self.sent}\n")
        self._log.close()
        self._socket.close()


class _EndError(Exception):
    pass


def _end(_signal: int, _frame: object) -> None:
    raise _EndError


def _called(address: str, port: int, log: Path) -> None:
    """Take every call; one at a time."""
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.bind((address, port))
    print(line.getsockname()[1], flush=True)
    voice, calls, called = Voice(address, log.with_suffix(".0")), 0, False
    try:
        while True:
            ready, _, _ = select.select([line, voice], [], [], voice.wait_s())
            if voice in ready:
                sender = voice.receive()
                if sender and called:  # behind NAT it comes from elsewhere than was said
                    voice.to = sender
            if line in ready:
                data, peer = line.recvfrom(8192)
                request = data.decode(errors="replace")
                method = request.split(" ", 1)[0]
                own = f"{address}:{port}"
                if method == "INVITE":
                    calls += 1
                    voice.close()
                    voice = Voice(address, log.with_suffix(f".{calls}"))
                    line.sendto(answer(request, "200 OK", own, sdp(address, voice.port)), peer)
                    called = True
                elif method == "BYE":
                    line.sendto(answer(request, "200 OK", own, ""), peer)
                    called = False
                    voice.close()
                    voice = Voice(address, log.with_suffix(".0"))
                elif method == "OPTIONS":
                    line.sendto(answer(request, "200 OK", own, ""), peer)
            voice.send()
    finally:
        voice.close()


def _calls(address: str, target: tuple[str, int], seconds: float, log: Path) -> int:
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.bind((address, 0))
    line.connect(target)
    line.settimeout(2)
    own = (address, int(line.getsockname()[1]))
    where, call = f"{target[0]}:{target[1]}", f"{random.getrandbits(48):x}"
    voice = Voice(address, log)
    line.send(invite("INVITE", where, own, call, sdp(address, voice.port)))
    while True:
        reply = line.recv(8192).decode(errors="replace")
        if reply.startswith("SIP/2.0 2"):
            break
        if reply.startswith("SIP/2.0 ") and reply[8] in "3456":
            print(f"refused: {reply.splitlines()[0]}", file=sys.stderr)
            return 1
    line.send(invite("ACK", where, own, call, ""))
    voice.to = (target[0], media_port(reply) or 9)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        if select.select([voice], [], [], voice.wait_s())[0]:
            voice.receive()
        voice.send()
    line.send(invite("BYE", where, own, call, "", 2))
    voice.to = None
    time.sleep(1.0)  # what is still under way
    voice.receive()
    voice.close()
    return 0


def main(arguments: Sequence[str]) -> int:
    """Call or be called."""
    parser = argparse.ArgumentParser(prog="python -m lab.shaping.call", description=__doc__)
    parser.add_argument("--listen", required=True, metavar="ADDRESS")
    parser.add_argument("--port", type=int, default=5060)
    parser.add_argument("--call", metavar="ADDRESS:PORT")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--log", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    first()
    signal.signal(signal.SIGTERM, _end)
    try:
        if chosen.call:
            host, port = chosen.call.rsplit(":", 1)
            return _calls(chosen.listen, (host, int(port)), chosen.seconds, chosen.log)
        _called(chosen.listen, chosen.port, chosen.log)
    except _EndError:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
