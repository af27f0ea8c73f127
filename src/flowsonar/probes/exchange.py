"""The moves of a conversation on its present connection: open it, secure it, say something, hear what comes back.

Without sockets: every method that talks is a part of a conversation (see `dialogue`), used with `yield from`.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from flowsonar import limits
from flowsonar.model import Hints, Layer, Outcome, Question, Transport
from flowsonar.probes.dialogue import Attend, Connect, Connected, Ended, Event, Line, Received, Talk, TimedOut
from flowsonar.probes.moves import Heard, Seen, TlsState, clamp
from flowsonar.probes.replies import Asked, Judge
from flowsonar.probes.special.tls import TlsClient, looks_like_tls
from flowsonar.signatures.language import ProbeSpec, Reaction
from flowsonar.signatures.matcher import Reply
from flowsonar.signatures.templates import ConnectionFacts, Message

__all__ = ["Exchange", "Failed", "packed"]

GAP_FLOOR_S: Final = 0.02
"""A reply that does not end with a line end may go on: this long, plus the path's own time."""
GAP_LINE_S: Final = 0.005
"""The same after a line end, where more is less likely."""
GAP_HEAD_S: Final = 0.1
"""Within headers of HTTP and its kin: a server that sends them line by line thinks in between."""
GAP_CEILING_S: Final = 0.3
REPLY_LONGEST_S: Final = 1.0
"""A reply that goes on and on is judged by what came in this time."""
UNACKNOWLEDGED_S: Final = 1.0
"""Added to the wait at most, once a question, while the network has not delivered what we said ..."""
DELIVERED_STEP_S: Final = 0.02
"""... and so often it is looked whether it has: most acknowledgements only wait 40 ms for data to go with."""
HELLO_FLOOR_S: Final = 0.25
"""A server answers a ClientHello within this, and three times as long where something told that it speaks TLS."""
HELLO_BESIDE_S: Final = 1.0
"""The same where other questions are put beside it: it holds nobody up, and has only this one chance."""
HELLO_SHOWN_S: Final = 2.0
"""The same where the flow itself shows TLS: nothing else is worth asking."""
HANDSHAKE_FLOOR_S: Final = 1.0
"""A handshake that has begun to be answered is done within this."""
REOPEN_S: Final = 0.1
"""A server for one client at a time may close its port with each, and open it again: so long after it was refused, a
conversation that was answered before tries once more ..."""
REOPENS: Final = 8
"""... and so often where that helps."""
RECORD_HEAD: Final = 6


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a conversation cannot go on."""

    outcome: Outcome
    detail: str


class Exchange:
    """One endpoint's connections, one at a time, and what they cost."""

    def __init__(
        self,
        question: Question,
        judge: Judge,
        seen: Seen,
        *,
        timeout_s: float,
        now_s: float,
        began_s: float | None = None,
        purpose: str | None = None,
    ) -> None:
        self._question = question
        self._endpoint = question.endpoint
        self._judge = judge
        self._timeout_s = timeout_s
        self._purpose = purpose  # what the audit log says its connections are for, where it is not the probe
        self.seen = seen
        self.started_s = now_s if began_s is None else began_s  # when the endpoint's time began
        self.now_s = now_s
        self.line: Line | None = None
        self._opening = False  # a connection is counted that does not stand yet
        self._reopens = 0  # refused connections that were tried again
        self.asked: Asked | None = None  # the last question on the present line
        self.failed: Failed | None = None  # set once nothing more can be done
        self.garbled = ""  # what broke the format that was agreed
        self.connections = 0
        self.datagrams = 0
        self.bytes_sent = 0

    @property
    def udp(self) -> bool:
        """Datagrams, no connections."""
        return self._endpoint.transport is Transport.UDP

    @property
    def host(self) -> str:
        """The endpoint's address as URLs have it."""
        address = self._endpoint.address
        return f"[{address}]" if ":" in address else address

    @property
    def left_s(self) -> float:
        """What is left of the time for this endpoint."""
        return max(0.0, self.started_s + self._timeout_s + self.seen.held_s - self.now_s)

    def standing(self, over: Layer | None) -> Line | None:
        """The connection, where it stands and runs inside `over`."""
        line = self.line
        return line if line is not None and line.end is None and line.over is over else None

    def facts(self, line: Line) -> ConnectionFacts:
        """What messages may say of the connection."""
        return ConnectionFacts(
            target_address=packed(self._endpoint.address),
            target_port=self._endpoint.port,
            prober_address=packed(line.local_address),
            prober_port=line.local_port,
            target_host=self._question.hints.server_name,
        )

    def open(self, over: Layer | None, probe: str, *, any_port: bool = False) -> Talk[Line | None]:
        """A new connection or socket, with TLS on it where `over` says so; None when there is none, or none is left."""
        seen = self.seen
        self.leave()
        self.line = self.asked = None
        if not self.udp and seen.opened >= seen.most:
            return None
        self._opening = not self.udp
        seen.opened += self._opening
        seen.spent += self._opening
        event = yield Connect(self._purpose or probe, self.left_s, any_port)
        self.now_s = event.at_s
        if self._is_between(event):
            self._reopens += 1
            self.connections += 1
            paused = yield Attend(min(REOPEN_S, self.left_s))
            self.now_s = paused.at_s
            event = yield Connect(self._purpose or probe, self.left_s, any_port)
            self.now_s = event.at_s
        if isinstance(event, Ended):
            self.failed = Failed(event.outcome, event.detail)
            if event.outcome in (Outcome.NOT_PERMITTED, Outcome.CANCELLED):
                self.leave()
            else:
                self.connections += self._opening
            self._opening = False
            return None
        assert isinstance(event, Connected)
        self.line = Line(event)
        self._held(event.held_s)
        self.connections += self._opening
        self._opening = False
        if event.rtt_s is not None:
            seen.rtt_s = event.rtt_s
        if over is Layer.TLS:
            yield from self.secure(self.line, seen.tls_name, seen.tls_alpn)
        return self.standing(over)

    def _is_between(self, event: Event) -> bool:
        """Whether a connection was refused where one was answered before; the next refusal is the end of it."""
        refused = isinstance(event, Ended) and event.outcome is Outcome.REFUSED
        return refused and not self.udp and self.seen.heard > 0 and self._reopens < REOPENS

    def _held(self, seconds: float) -> None:
        """Our own budget held us back: the endpoint's time stands still meanwhile."""
        seen = self.seen
        if seconds > 0.0:
            seen.held_s += max(0.0, self.now_s - max(self.now_s - seconds, seen.held_until_s))
            seen.held_until_s = self.now_s

    def leave(self) -> None:
        """The present connection is not needed any more: one that brought no byte counts by itself."""
        line, seen = self.line, self.seen
        if self._opening:  # it never stood
            self._opening = False
            seen.spent -= 1
        if line is None or self.udp or line.counted or not line.unanswered or not seen.unanswered_left:
            return
        line.counted = True
        seen.spent -= 1
        seen.unanswered += 1
        seen.unanswered_left -= 1

    def secure(self, line: Line, name: str | None, alpn: tuple[str, ...]) -> Talk[TlsClient]:
        """TLS on a standing connection; `done` of the result says whether it came through."""
        client = TlsClient(name, alpn)
        self.seen.securing = True
        plain_before = not line.said
        began_s, rtt_s, hints = line.now_s, line.rtt_s or 0.0, self._question.hints
        floor_s = HELLO_FLOOR_S if self.seen.tls is TlsState.UNKNOWN else 3 * HELLO_FLOOR_S
        if None in self.seen.spread:
            floor_s = max(floor_s, HELLO_BESIDE_S)
        if looks_like_tls(hints.initiator_bytes) or looks_like_tls(hints.responder_bytes) or _is_running(hints):
            floor_s = HELLO_SHOWN_S
        first_s = clamp(3 * rtt_s + floor_s, floor_s, self._timeout_s)
        whole_s = clamp(6 * rtt_s + HANDSHAKE_FLOOR_S, HANDSHAKE_FLOOR_S, self._timeout_s)
        raw = yield from line.secure(
            client, "tls", first_s=min(self.left_s, first_s), within_s=min(self.left_s, whole_s)
        )
        self.now_s = line.now_s
        line.said = False  # nothing was said inside yet
        seen = self.seen
        seen.heard += client.received
        if client.done:
            self.seen.tls_name, self.seen.tls_alpn = name, alpn
            facts = client.facts()
            seen.tls, seen.alpn, seen.last = TlsState.OPEN, facts.alpn, Heard.KNOWN
            seen.handshake_s = self.now_s - began_s
            self._judge.tls_facts(facts, upgraded=not plain_before, offered=alpn)
            return client
        line.end = line.end or Ended(self.now_s, Outcome.CLOSED, client.problem)
        if line.end.outcome in (Outcome.NOT_PERMITTED, Outcome.CANCELLED):
            self.failed = Failed(line.end.outcome, line.end.detail)
        elif client.is_tls:
            self._judge.tls_closed(client.problem, raw)
            seen.last = Heard.KNOWN
        elif raw and plain_before:
            if looks_like_tls(raw[: RECORD_HEAD - 1] + b"\x02"):
                self.garbled = f"TLS: {client.problem}"
            asked = Asked("tls/hello", 0, Message(b"", self.facts(line).sent()))
            known = self._judge.reply(asked, raw, Transport.TCP, closed=True)
            seen.last = Heard.KNOWN if known else Heard.STRANGE
        else:
            seen.hello_unheard += "in time" in client.problem
            self._quiet(closed="in time" not in client.problem, probe=("tls/hello", None) if plain_before else None)
        if seen.tls is not TlsState.OPEN:
            seen.tls = TlsState.FAILED
            self._judge.unhold()
        return client

    def say(self, line: Line, data: bytes, probe: ProbeSpec) -> Talk[None]:
        """Send one message; over UDP nothing, where none is left."""
        if self.udp and self.seen.spent >= self.seen.most:
            return
        yield from line.say(data, probe.id, amplifies=probe.amplifies)
        self.now_s = line.now_s
        self._held(line.held_s)
        if line.end is not None and line.end.outcome in (Outcome.NOT_PERMITTED, Outcome.CANCELLED):
            self.failed = Failed(line.end.outcome, line.end.detail)
            return
        if self.udp:
            self.seen.spent += 1
            self.datagrams += 1
        self.bytes_sent += len(data)

    def hear(self, line: Line, asked: Asked, seconds: float) -> Talk[Reply]:
        """Wait up to `seconds` for one reply, and judge it."""
        self._judge.ask(asked)
        self.asked = asked
        first = line.said and not line.heard
        until_s = line.now_s + seconds
        if self.udp:
            data, closed = yield from self._datagrams(line, until_s)
        else:
            data, closed = yield from self._stream(line, asked, seconds, first=first)
            self.seen.barred = self.seen.barred or (line.tls is not None and line.tls.bars)
        self.now_s = line.now_s
        reply = self._judge.as_reply(asked, data, self._endpoint.transport, closed=closed)
        self._conclude(asked, reply, first=first)
        return reply

    def _stream(self, line: Line, asked: Asked, seconds: float, *, first: bool) -> Talk[tuple[bytes, bool]]:
        """Collect; judge at once, at each doubling of what came, and when the reply pauses."""
        data = bytearray()
        judge_at, delivered, wants_end = 1, True, False
        longest_s = until_s = line.now_s + seconds
        extended_s: float | None = None  # the end of the time that the network was given
        while True:
            event = yield from line.hear(min(until_s, longest_s) - line.now_s)
            match event:
                case TimedOut(unacknowledged=True) if not data and line.now_s < (extended_s or math.inf):
                    extended_s = extended_s or line.now_s + min(UNACKNOWLEDGED_S, self.left_s)
                    delivered = False
                    until_s = longest_s = min(extended_s, line.now_s + DELIVERED_STEP_S)
                case TimedOut(unacknowledged=False) if not data and extended_s and not delivered:
                    delivered = True  # a moment ago: the answer has as long as any
                    until_s = longest_s = min(extended_s, line.now_s + seconds)
                case TimedOut():
                    return bytes(data), False
                case Ended():
                    self._ended(event)
                    return bytes(data), True
                case Received():
                    self.seen.heard += len(event.data)
                    if not data:
                        longest_s = line.now_s + min(REPLY_LONGEST_S, self.left_s)
                    data += event.data[: limits.REPLY_BYTES - len(data)]
                    if len(data) >= judge_at:
                        judge_at = 2 * len(data)
                        wants_end = self._judge.hangs_on_the_end(asked, bytes(data))
                        if not wants_end and self._judge.enough(asked, bytes(data), first=first):
                            return bytes(data), False
                    if len(data) >= limits.REPLY_BYTES or line.now_s >= longest_s:
                        return bytes(data), False
                    until_s = longest_s if wants_end else line.now_s + self._gap_s(data)

    def _datagrams(self, line: Line, until_s: float) -> Talk[tuple[bytes, bool]]:
        """The first datagram that a signature knows, else the first one."""
        first = b""
        while True:
            event = yield from line.hear(until_s - line.now_s)
            match event:
                case TimedOut():
                    return first, False
                case Ended():
                    self._ended(event)
                    return first, True
                case Received():
                    self.seen.heard += len(event.data)
                    if self._judge.datagram(event.data):
                        return event.data, False
                    first = first or event.data
                    if self._judge.echoes or line.now_s >= until_s:
                        return first, False

    def datagram(self, line: Line, seconds: float) -> Talk[bytes | None]:
        """The next datagram, which nobody judges; None when none came in time."""
        event = yield from line.hear(seconds)
        self.now_s = line.now_s
        if isinstance(event, Received):
            self.seen.heard += len(event.data)
            return event.data
        if isinstance(event, Ended):
            self._ended(event)
        return None

    def _conclude(self, asked: Asked, reply: Reply, *, first: bool) -> None:
        """What the reply means for the next move."""
        seen = self.seen
        if not reply.data:
            probe = (asked.probe_id, asked.over) if asked.message.data and not asked.step else None
            self._quiet(closed=reply.closed, asked=bool(asked.message.data), probe=probe)
            if asked.message.data and _is_text(asked.message.data):
                seen.text_ignored = True
                seen.text_ended = seen.text_ended or reply.closed
        elif self.udp:
            seen.last = Heard.KNOWN if self._judge.candidates else Heard.STRANGE
            seen.again = self._judge.wanted_again()
        elif reply.over is None and seen.tls is TlsState.UNKNOWN and self._judge.tells_tls(reply):
            seen.tls, seen.last = TlsState.SUGGESTED, Heard.KNOWN
            self._judge.hold(asked, reply)
        else:
            seen.last = Heard.KNOWN if self._judge.settle(asked, reply, first=first) else Heard.STRANGE

    def _quiet(self, *, closed: bool, asked: bool = True, probe: tuple[str, Layer | None] | None = None) -> None:
        if probe is not None:
            ended = self.line.end if self.line is not None else None
            closes = Reaction.RESETS if ended is not None and ended.reset else Reaction.CLOSES
            self.seen.met[probe] = closes if closed else Reaction.SILENT
        self.seen.last = Heard.CLOSED if closed else Heard.SILENT
        self.seen.silences += asked and not closed
        if closed and self.line is not None and self.line.unanswered:
            self.seen.closes += 1
            self.leave()

    def _ended(self, event: Ended) -> None:
        if (self.udp and not self.seen.heard) or event.outcome in (Outcome.NOT_PERMITTED, Outcome.CANCELLED):
            self.failed = Failed(event.outcome, event.detail)

    def _gap_s(self, data: bytearray) -> float:
        """How long a reply may pause before it counts as over."""
        rtt_s = self.seen.rtt_s or 0.0
        if _is_open_head(data):
            return clamp(rtt_s, GAP_HEAD_S, GAP_CEILING_S)
        if data.endswith(b"\n"):
            return clamp(rtt_s / 8, GAP_LINE_S, GAP_CEILING_S)
        return clamp(rtt_s, GAP_FLOOR_S, GAP_CEILING_S)


def _is_running(hints: Hints) -> bool:
    """Whether the flow was picked up in the middle of TLS, and shows its records."""
    return hints.midstream and hints.candidates == ("tls",)


def _is_open_head(data: bytearray) -> bool:
    """Whether headers of HTTP or its kin are still to come: some servers send them line by line."""
    return data.startswith((b"HTTP/", b"RTSP/", b"SIP/")) and b"\r\n\r\n" not in data and b"\n\n" not in data


def _is_text(data: bytes) -> bool:
    return all(32 <= byte < 127 or byte in (9, 10, 13) for byte in data[:16])


@lru_cache(maxsize=1024)
def packed(address: str) -> bytes:
    """4 or 16 bytes; an IPv4-mapped address is IPv4."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).packed
