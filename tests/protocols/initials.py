"""QUIC packets for tests: the examples of RFC 9001 appendix A, and hellos of Google's own handshake."""

from flowsonar.protocols.quic import build_initial
from flowsonar.protocols.quic_keys import initial_keys, scheme_of

CLIENT_ID = bytes.fromhex("8394c8f03e515708")
SERVER_ID = bytes.fromhex("f067a5502a4262b5")
RFC_HELLO = bytes.fromhex(
    "010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c000000010000e"
    "00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500050100000000003300260024"
    "001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e0403050306030203"
    "080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff0801100104800075300901100f"
    "088394c8f03e51570806048000ffff"
)
"""Appendix A.2."""
RFC_SERVER = bytes.fromhex(
    "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf7"
    "3c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58"
    "891850abbdca3d20398c276456cbc42158407dd074ee"
)
"""Appendix A.3."""


def server_initial(version, first_id, destination, source, payload, number=0):
    """A server's Initial with any frames."""
    scheme = scheme_of(version)
    head = bytes([0xC0 | scheme.initial << 4]) + version.to_bytes(4, "big")
    head += bytes([len(destination)]) + destination + bytes([len(source)]) + source + b"\0"
    payload += bytes(max(0, 4 - len(payload)))
    return initial_keys(scheme, first_id)[1].seal(
        head + (0x4000 | 4 + len(payload) + 16).to_bytes(2, "big"), number, payload
    )


def client_initial(hello=RFC_HELLO, version=1, destination=CLIENT_ID, source=b"", **more):
    """A client's Initial."""
    return build_initial(version, destination, source, hello, **more)


def tags(kind, **values):
    """A message of Google's handshake."""
    table = body = b""
    for name, value in values.items():
        body += value
        table += name.encode().ljust(4, b"\0") + len(body).to_bytes(4, "little")
    return kind.ljust(4, b"\0") + len(values).to_bytes(2, "little") + b"\0\0" + table + body


def google(version, message, connection=bytes(range(1, 9)), flags=0x0D):
    """A first packet of Google's QUIC up to Q043: header, number, hash, a STREAM frame."""
    named = version.encode() if flags & 1 else b""
    return bytes([flags]) + connection + named + b"\x01" + bytes(12) + b"\xa0\x01" + message
