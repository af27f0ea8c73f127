"""Hellos for tests, built from the RFC's layout."""


def record(kind, body, version=0x0303):
    return bytes([kind]) + version.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def _vector(body, size):
    return len(body).to_bytes(size, "big") + body


def _extension(kind, body):
    return kind.to_bytes(2, "big") + _vector(body, 2)


def client_hello(
    *,
    name=None,
    alpn=(),
    versions=(),
    ciphers=(0x1301, 0x1302, 0xC02B),
    algorithms=(0x0403, 0x0804),
    extra=(),
    padding=0,
):
    extensions = b""
    if name is not None:
        extensions += _extension(0, _vector(b"\x00" + _vector(name.encode(), 2), 2))
    for kind in extra:
        extensions += _extension(kind, b"")
    if alpn:
        extensions += _extension(16, _vector(b"".join(_vector(one.encode(), 1) for one in alpn), 2))
    if versions:
        extensions += _extension(43, _vector(b"".join(v.to_bytes(2, "big") for v in versions), 1))
    if algorithms:
        extensions += _extension(13, _vector(b"".join(a.to_bytes(2, "big") for a in algorithms), 2))
    if padding:
        extensions += _extension(21, bytes(padding))
    body = b"\x03\x03" + bytes(range(32)) + _vector(b"s" * 32, 1)
    body += _vector(b"".join(c.to_bytes(2, "big") for c in ciphers), 2) + b"\x01\x00" + _vector(extensions, 2)
    return record(0x16, b"\x01" + _vector(body, 3), 0x0301)


def server_hello(*, version=0x0304, alpn=None, cipher=0x1301):
    extensions = b""
    if version is not None:
        extensions += _extension(43, version.to_bytes(2, "big"))
    if alpn is not None:
        extensions += _extension(16, _vector(_vector(alpn.encode(), 1), 2))
    body = b"\x03\x03" + bytes(range(32)) + _vector(b"s" * 32, 1) + cipher.to_bytes(2, "big") + b"\x00"
    body += _vector(extensions, 2) if extensions else b""
    return record(0x16, b"\x02" + _vector(body, 3))


def datagram(hello: bytes, *, version: int = 0xFEFD, cookie: bytes | None = b"", pieces: int = 1) -> bytes:
    """A TLS hello in its record as DTLS carries it, in fragments of one record each."""
    kind, body = hello[5], hello[9:]
    if cookie is not None:
        at = 35 + body[34]
        body = body[:at] + bytes([len(cookie)]) + cookie + body[at:]
    body = version.to_bytes(2, "big") + body[2:]
    step = -(-len(body) // pieces)
    parts = []
    for number, start in enumerate(range(0, len(body), step)):
        part = body[start : start + step]
        head = bytes([kind]) + len(body).to_bytes(3, "big") + b"\0\0" + start.to_bytes(3, "big")
        message = head + len(part).to_bytes(3, "big") + part
        record = b"\x16\xfe\xfd\0\0" + number.to_bytes(6, "big") + len(message).to_bytes(2, "big")
        parts.append(record + message)
    return b"".join(parts)
