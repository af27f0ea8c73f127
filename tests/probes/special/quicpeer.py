"""A QUIC server for tests: enough of RFC 9000 and TLS 1.3 to be shaken hands with, without a socket."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, x25519

from flowsonar.probes.special.quicframes import CRYPTO, STREAM, read_frames, stream
from flowsonar.probes.special.quickeys import SUITES, PacketKeys, Schedule
from flowsonar.protocols import qpack, quic
from flowsonar.protocols.quic_keys import TAG_BYTES, initial_keys, scheme_of

SETTINGS = b"\x00\x04\x00"


def sized(data: bytes, size: int) -> bytes:
    return len(data).to_bytes(size, "big") + data


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + sized(body, 3)


def crypto(data: bytes, offset: int = 0) -> bytes:
    return b"\x06" + quic.write_varint(offset) + quic.write_varint(len(data)) + data


def web(server: str = "Testing/1.2") -> dict[int, bytes]:
    block = qpack.encode([(":status", "200"), ("server", server), ("content-type", "text/plain")])
    return {3: SETTINGS, 0: b"\x01" + quic.write_varint(len(block)) + block + b"\x00\x02hi"}


class QuicServer:
    def __init__(
        self,
        *,
        alpn: tuple[bytes, ...] = (b"h3",),
        streams: dict[int, bytes] | None = None,
        certificate: bytes = b"not a certificate",
        suite: int = 0x1301,
        group: int = 0x001D,
        version: int = 1,
        retry: bool = False,
        wants_certificate: bool = False,
        cut: int = 1000,
    ) -> None:
        self.alpn, self.streams, self.certificate = alpn, streams if streams is not None else web(), certificate
        self.suite, self.group, self.version, self.retry, self.cut = suite, group, version, retry, cut
        self.wants_certificate = wants_certificate
        self.source = b"SERVERID"
        self.out: list[bytes] = []
        self.said: dict[int, bytes] = {}
        self.closed: int | None = None
        self.finished = False
        self.shaken = False
        self._keys: dict[int, tuple[PacketKeys, PacketKeys]] = {}
        self._numbers = [0, 0, 0]

    def feed(self, datagram: bytes) -> None:
        at = 0
        if datagram[0] & 0x80:
            for packet in quic.read_packets(datagram):
                at = packet.end
                if packet.kind in (quic.Kind.INITIAL, quic.Kind.UNKNOWN):
                    self._initial(datagram, packet)
                elif packet.kind is quic.Kind.HANDSHAKE and 1 in self._keys:
                    self._handshake(datagram[packet.start : packet.end], packet.at - packet.start)
        if at < len(datagram) and not datagram[at] & 0x80 and 2 in self._keys:
            opened = self._keys[2][0].open(datagram[at:], 1 + len(self.source))
            assert opened is not None
            self._application(opened[1])

    def _initial(self, datagram: bytes, packet: quic.Packet) -> None:
        if packet.version != self.version:
            told = b"\x80" + bytes(4) + sized(packet.source, 1) + sized(packet.destination, 1)
            self.out.append(told + self.version.to_bytes(4, "big"))
            return
        self.client = packet.source
        scheme = scheme_of(packet.version)
        assert scheme is not None
        self.scheme = scheme
        if self.retry and not packet.token:
            kind = (3 + scheme.initial) % 4
            head = bytes([0xC0 | kind << 4]) + packet.version.to_bytes(4, "big")
            self.out.append(head + sized(self.client, 1) + sized(self.source, 1) + b"token" + bytes(16))
            return
        keys = initial_keys(scheme, packet.destination)
        payload = keys[0].open(datagram[packet.start : packet.end], packet.at - packet.start)
        assert payload is not None
        self._initials = keys[1]
        hello = b"".join(frame.data for frame in read_frames(payload) if frame.kind == CRYPTO)
        if not self.shaken:
            self._answer(hello)

    def _answer(self, hello: bytes) -> None:
        self.shaken = True
        offered = next((one for one in self.alpn if sized(one, 1) in hello), None)
        if self.alpn and offered is None:
            self.out.append(self._long(0, b"\x1c\x41\x78\x06\x02no"))
            return
        suite = SUITES[self.suite]
        if self.group == 0x001D:
            ours = x25519.X25519PrivateKey.generate()
            at = hello.index(b"\x00\x1d\x00\x20") + 4
            shared = ours.exchange(x25519.X25519PublicKey.from_public_bytes(hello[at : at + 32]))
            share = ours.public_key().public_bytes_raw()
        else:
            curve = ec.generate_private_key(ec.SECP256R1())
            at = hello.index(b"\x00\x17\x00\x41") + 4
            theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), hello[at : at + 65])
            shared = curve.exchange(ec.ECDH(), theirs)
            numbers = curve.public_key().public_numbers()
            share = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        extensions = b"\x00\x2b\x00\x02\x03\x04\x00\x33" + sized(self.group.to_bytes(2, "big") + sized(share, 2), 2)
        body = b"\x03\x03" + bytes(range(32)) + b"\0" + self.suite.to_bytes(2, "big") + b"\0" + sized(extensions, 2)
        said = message(2, body)
        schedule = Schedule(suite, shared)
        secrets = schedule.handshake(hello + said)
        chosen = b"\x00\x10" + sized(sized(sized(offered, 1), 2), 2) if offered else b""
        flight = message(8, sized(chosen, 2))
        if self.wants_certificate:
            flight += message(13, b"\x03ctx\x00\x00")
        flight += message(11, b"\0" + sized(sized(self.certificate, 3) + b"\0\0", 3)) + message(
            15, b"\x04\x03\x00\x01\0"
        )
        flight += schedule.finished(secrets.server, hello + said + flight)
        transcript = hello + said + flight
        answer = message(11, sized(b"ctx", 1) + b"\0\0\0") if self.wants_certificate else b""
        self._expected = answer + schedule.finished(secrets.client, transcript + answer)
        label = self.scheme.label
        self._keys[1] = PacketKeys(suite, secrets.client, label), PacketKeys(suite, secrets.server, label)
        application = schedule.application(transcript)
        self._keys[2] = PacketKeys(suite, application.client, label), PacketKeys(suite, application.server, label)
        first = self._long(0, b"\x02\0\0\0\0" + crypto(said))
        for start in range(0, len(flight), self.cut):
            first += self._long(1, crypto(flight[start : start + self.cut], start))
            self.out.append(first)
            first = b""

    def _long(self, level: int, payload: bytes) -> bytes:
        kind = ((2 if level else 0) + self.scheme.initial) % 4
        head = bytes([0xC0 | kind << 4]) + self.version.to_bytes(4, "big") + sized(self.client, 1)
        head += sized(self.source, 1) + (b"" if level else b"\0")
        head += (0x4000 | 4 + len(payload) + TAG_BYTES).to_bytes(2, "big")
        number, self._numbers[level] = self._numbers[level], self._numbers[level] + 1
        keys = self._keys[1][1] if level else self._initials
        return keys.seal(head, number, payload)

    def _handshake(self, packet: bytes, at: int) -> None:
        opened = self._keys[1][0].open(packet, at)
        assert opened is not None
        for frame in read_frames(opened[1]):
            if frame.kind == CRYPTO:
                assert frame.data == self._expected
                self.finished = True
            else:
                self.closed = frame.number

    def _application(self, payload: bytes) -> None:
        for frame in read_frames(payload):
            if frame.kind == STREAM:
                self.said[frame.number] = frame.data
            else:
                self.closed = frame.number
        if self.said and self.closed is None:
            frames = b"".join(stream(number, data, final=True) for number, data in self.streams.items())
            number, self._numbers[2] = self._numbers[2], self._numbers[2] + 1
            self.out.append(self._keys[2][1].seal(b"\x40" + self.client, number, b"\x01\x1e" + frames))
