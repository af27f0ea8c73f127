"""FTP's control connection as a dialogue: what proves it, what data connections it announces, when it turns to TLS."""

from __future__ import annotations

from typing import Final

from flowsonar.errors import MalformedError
from flowsonar.flows.events import Opened, Payload
from flowsonar.model import Announcement, Confidence, Evidence, EvidenceKind, Layer, Side, Transport
from flowsonar.passive.addresses import address_text
from flowsonar.passive.follow import FOLLOW_FTP
from flowsonar.passive.tls import starts_like_tls
from flowsonar.protocols import ftp

__all__ = ["FtpControl", "could_be_control"]

_SIDES: Final = (Side.INITIATOR, Side.RESPONDER)
_MAX_LINE: Final = 1024
"""A line that is longer is not FTP's; the dialogue is given up."""
_MAX_ANNOUNCED: Final = 4096
"""Data connections announced by one control connection; a client that lists every folder of an archive needs many."""
_OWN_COMMANDS: Final = frozenset(
    {b"PASV", b"EPSV", b"PORT", b"EPRT", b"RETR", b"STOR", b"CWD", b"MLSD", b"NLST", b"FEAT"}
)
"""Verbs that SMTP and POP3 do not know; USER, PASS, QUIT, LIST, STAT, HELP, NOOP and AUTH they share."""
_ANSWERS: Final = {
    b"USER": frozenset({230, 331, 332, 530, 421, 234, 550}),
    b"AUTH": frozenset({234, 334, 534, 431}),
    b"FEAT": frozenset({211}),
    b"PASV": frozenset({227, 425, 530, 550}),
    b"EPSV": frozenset({229, 522, 530}),
    b"PORT": frozenset({200, 530}),
    b"EPRT": frozenset({200, 522, 530}),
    b"RETR": frozenset({125, 150, 425, 450, 530, 550}),
    b"STOR": frozenset({125, 150, 425, 450, 452, 530, 532, 550, 553}),
    b"CWD": frozenset({250, 530, 550}),
    b"MLSD": frozenset({125, 150, 425, 530, 550}),
    b"NLST": frozenset({125, 150, 425, 450, 530, 550}),
}
"""RFC 959 section 5.4, RFC 2428, RFC 4217: the replies that may follow, but for those by which a mail server says that
it does not know the command (500 to 504)."""
_TLS_WORDS: Final = frozenset({b"TLS", b"TLS-C", b"TLS-P", b"SSL"})
"""What AUTH asks for in FTP (RFC 4217 section 4). Names of SASL's mechanisms prove nothing: mail has them as well."""


def could_be_control(data: bytes) -> bool:
    """Whether first bytes are worth following as FTP."""
    return data.startswith(FOLLOW_FTP)


class FtpControl:
    """One control connection. SMTP greets with 220 too; an FTP verb with a reply that fits it decides."""

    __slots__ = ("_announced", "_buffers", "_client", "_command", "_opened", "_proven", "ended", "over_tls")

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._buffers: list[bytes] = [b"", b""]
        self._client = -1 if opened.midstream else 0
        """The direction that sends commands, -1 before it is known. Who connects is the client."""
        self._command = b""
        """The verb that waits for its reply."""
        self._proven = False
        self._announced = 0
        self.ended = False
        """It is not FTP, or nothing more can be read."""
        self.over_tls = False
        """The server agreed to AUTH: what follows is TLS."""

    @property
    def proven(self) -> bool:
        """Whether verbs and replies fitted."""
        return self._proven

    def feed(self, event: Payload) -> tuple[list[Evidence], list[Announcement]]:
        """Take one segment; give what it proves and announces."""
        evidence: list[Evidence] = []
        announcements: list[Announcement] = []
        direction = event.direction
        if self._command == b"AUTH" and starts_like_tls(event.data):  # the other direction was not seen
            self._agreed(_proof(_SIDES[direction], event.data[:16], "AUTH, then TLS", Layer.TLS), evidence)
        data = self._buffers[direction] + event.data
        if self.over_tls or len(data) > 4 * _MAX_LINE:
            self.ended = True
            return evidence, announcements
        *lines, rest = data.split(b"\n")
        self._buffers[direction] = rest
        if len(rest) > _MAX_LINE:
            self.ended = True
        for line in lines:
            self._line(direction, line.rstrip(b"\r"), evidence, announcements)
            if self.ended:
                break
        return evidence, announcements

    def _line(self, direction: int, line: bytes, evidence: list[Evidence], announcements: list[Announcement]) -> None:
        if direction == self._client or (self._client < 0 and not line[:3].isdigit()):
            self._request(direction, line, announcements)
        else:
            self._reply(direction, line, evidence, announcements)

    def _request(self, direction: int, line: bytes, announcements: list[Announcement]) -> None:
        try:
            verb, argument = ftp.read_command(line.lstrip(b"\xff\xf4\xf2"))  # ABOR comes after Telnet signals
        except MalformedError:
            if line[:4].upper() in {b"EHLO", b"HELO", b"LHLO"} or not self._proven:
                self.ended = True  # SMTP, POP3 or no dialogue of lines at all
            return
        self._client = direction
        self._command = b"" if verb == b"AUTH" and argument.strip().upper() not in _TLS_WORDS else verb
        if verb in {b"PORT", b"EPRT"}:
            self._announce(verb, argument, direction, announcements)

    def _reply(self, direction: int, line: bytes, evidence: list[Evidence], announcements: list[Announcement]) -> None:
        code = ftp.read_reply_code(line)
        if code:
            self._client = 1 - direction  # the lines within a long reply look like anything
        if not code or line[3:4] == b"-":
            return
        side = _SIDES[direction]
        command, self._command = self._command, b""
        if code == 227 or (code == 229 and b"|" in line):
            self._announce(line[:3], line[4:], direction, announcements)
            if announcements and not command:
                command = b"PASV" if code == 227 else b"EPSV"  # picked up between command and reply
        if command == b"AUTH" and code == 234:
            self._agreed(_proof(side, line, "AUTH accepted: TLS from here on", Layer.TLS), evidence)
        elif not command and code == 234:
            self._command = b"AUTH"  # nothing else is answered like this (RFC 4217); TLS after it will prove that
        elif not self._proven and code in _ANSWERS.get(command, ()):
            self._proven = True
            evidence.append(_proof(side, line, f"{command.decode()} answered with {code}", None))

    def _agreed(self, proof: Evidence, evidence: list[Evidence]) -> None:
        """Both sides go on in TLS."""
        self.over_tls = True
        self._proven = True
        evidence.append(proof)

    def _announce(self, what: bytes, argument: bytes, direction: int, announcements: list[Announcement]) -> None:
        """The party that sends the line listens; the other one connects."""
        try:
            endpoint = ftp.read_data_endpoint(what, argument)
        except MalformedError:
            return
        self._announced += 1
        if self._announced > _MAX_ANNOUNCED:
            self.ended = True
            return
        opened = self._opened
        own, other = (opened.initiator, opened.responder) if direction == 0 else (opened.responder, opened.initiator)
        by = "PASV" if what == b"227" else "EPSV" if what == b"229" else what.decode()
        if endpoint.address is not None and endpoint.address != own:
            # Behind NAT the server writes its inner address. Another host's address may also be a lie.
            announcements.append(_announcement(endpoint.address, endpoint.port, None, by, Confidence.LIKELY))
        announcements.append(_announcement(own, endpoint.port, other, by, Confidence.CONFIRMED))


def _proof(side: Side, line: bytes, detail: str, over: Layer | None) -> Evidence:
    return Evidence(
        kind=EvidenceKind.PAYLOAD,
        service="ftp",
        confidence=Confidence.CONFIRMED,
        side=side,
        over=over,
        signature="ftp/dialogue",
        detail=detail,
        data=line[:256],
        specificity=60,
    )


def _announcement(address: bytes, port: int, initiator: bytes | None, by: str, confidence: Confidence) -> Announcement:
    return Announcement(
        transport=Transport.TCP,
        responder_address=address_text(address),
        responder_port=port,
        initiator_address=None if initiator is None else address_text(initiator),
        evidence=Evidence(
            kind=EvidenceKind.ANNOUNCED,
            service="ftp",
            confidence=confidence,
            detail=f"data connection announced by {by}",
            specificity=60,
        ),
    )
