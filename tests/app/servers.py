"""Small real servers on loopback for the tests of whole jobs."""

import http.server
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


class _Greeter(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n")
        self.request.recv(256)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def _running(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def web() -> Iterator[int]:
    """The standard library's HTTP server; its port."""
    with _running(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet)) as port:
        yield port


@contextmanager
def greeter() -> Iterator[int]:
    """Says OpenSSH's identification line and no more; its port."""
    with _running(_Server(("127.0.0.1", 0), _Greeter)) as port:
        yield port


class _Odd(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        if self.request.recv(256):
            self.request.sendall(b"WHAT?")


@contextmanager
def odd() -> Iterator[int]:
    """Answers everything with bytes that no service says; its port."""
    with _running(_Server(("127.0.0.1", 0), _Odd)) as port:
        yield port
