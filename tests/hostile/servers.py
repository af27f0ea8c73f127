"""Servers that behave as badly as a socket allows; each takes connections on a port of its own until the end."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator

Behaviour = Callable[[socket.socket], None]
PATIENCE_S = 20
"""A server gives up here; the program under test is to give up long before."""


class Farm:
    """Servers on 127.0.0.1, in the network namespace of the thread that starts them."""

    def __init__(self) -> None:
        self._listeners: list[socket.socket] = []
        self._open: set[socket.socket] = set()
        self._ended = threading.Event()
        self.asked: dict[int, int] = {}
        """Connections or datagrams by port."""

    def tcp(self, behaviour: Behaviour) -> int:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        port: int = listener.getsockname()[1]
        self._listeners.append(listener)
        self.asked[port] = 0
        threading.Thread(target=self._accept, args=(listener, port, behaviour), daemon=True).start()
        return port

    def udp(self, answer: Callable[[socket.socket, bytes, object], None]) -> int:
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        self._listeners.append(listener)
        self.asked[port] = 0

        def serve() -> None:
            with contextlib.suppress(OSError):
                while not self._ended.is_set():
                    data, source = listener.recvfrom(65536)
                    if source is None:  # shut down
                        return
                    self.asked[port] += 1
                    answer(listener, data, source)

        threading.Thread(target=serve, daemon=True).start()
        return port

    def _accept(self, listener: socket.socket, port: int, behaviour: Behaviour) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.asked[port] += 1
                connection.settimeout(PATIENCE_S)
                self._open.add(connection)
                threading.Thread(target=self._behave, args=(connection, behaviour), daemon=True).start()

    def _behave(self, connection: socket.socket, behaviour: Behaviour) -> None:
        with contextlib.suppress(OSError):
            behaviour(connection)
        self._open.discard(connection)
        connection.close()

    def close(self) -> None:
        self._ended.set()
        for listener in (*self._listeners, *self._open):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def saying(data: bytes) -> Behaviour:
    """Greets with these bytes, then hears what comes until the other side ends."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(data)
        while connection.recv(65536):
            pass

    return behave


def answering(data: bytes) -> Behaviour:
    """Answers everything with these bytes."""

    def behave(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(data)

    return behave


def flooding(data: bytes) -> Behaviour:
    """Says the same for ever, as fast as it is read."""

    def behave(connection: socket.socket) -> None:
        while True:
            connection.sendall(data)

    return behave


def dripping(data: bytes, pause_s: float, *, then_again: bool = True) -> Behaviour:
    """A byte at a time."""

    def behave(connection: socket.socket) -> None:
        ended = threading.Event()
        while True:
            for byte in data:
                connection.sendall(bytes([byte]))
                ended.wait(pause_s)
            if not then_again:
                return

    return behave


def resetting(after: bytes = b"", *, heard: int = 0) -> Behaviour:
    """RST at a chosen moment: after saying something, or once so much was heard."""

    def behave(connection: socket.socket) -> None:
        if after:
            connection.sendall(after)
        left = heard
        while left > 0 and (data := connection.recv(left)):
            left -= len(data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return behave


def silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def deaf(connection: socket.socket) -> None:
    """Never reads, never speaks."""
    threading.Event().wait(PATIENCE_S)


def echoing(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def random_bytes(connection: socket.socket) -> None:
    while connection.recv(65536):
        connection.sendall(os.urandom(700))


def record(kind: int, body: bytes, version: int = 0x0303) -> bytes:
    """A TLS record (RFC 8446 section 5.1)."""
    return struct.pack("!BHH", kind, version, len(body)) + body


def server_hello(*, cipher: int = 0xC02F, session: bytes = b"", extensions: bytes = b"") -> bytes:
    """A ServerHello message of TLS 1.2 (RFC 5246 section 7.4.1.3)."""
    body = b"\x03\x03" + bytes(32) + bytes([len(session)]) + session + struct.pack("!HB", cipher, 0)
    body += struct.pack("!H", len(extensions)) + extensions
    return b"\x02" + len(body).to_bytes(3, "big") + body


def certificate(size: int) -> bytes:
    """A Certificate message (RFC 5246 section 7.4.2) with one certificate of nonsense."""
    body = size.to_bytes(3, "big") + os.urandom(size)
    body = len(body).to_bytes(3, "big") + body
    return b"\x0b" + len(body).to_bytes(3, "big") + body


def records(message: bytes) -> bytes:
    """A handshake message over as many records as it takes."""
    return b"".join(record(22, message[at : at + 16384]) for at in range(0, len(message), 16384))


def after_hello(data: bytes, *, end: bool = False, reset: bool = False) -> Behaviour:
    """Waits for a ClientHello, answers with `data`, then waits, ends or resets; plain text gets no answer."""

    def behave(connection: socket.socket) -> None:
        heard = connection.recv(65536)
        if heard[:1] != b"\x16":
            return
        connection.sendall(data)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif not end:
            silent(connection)

    return behave


@contextlib.contextmanager
def farm() -> Iterator[Farm]:
    made = Farm()
    try:
        yield made
    finally:
        made.close()
