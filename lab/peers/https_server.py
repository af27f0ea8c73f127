"""Python's http.server inside TLS: `python -m lab.peers.https_server PORT FOLDER PEM`, on IPv4 and IPv6."""

from __future__ import annotations

import functools
import http.server
import socket
import ssl
import sys

__all__ = ["main"]


class _Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    context: ssl.SSLContext

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def get_request(self) -> tuple[ssl.SSLSocket, object]:
        # The handshake happens in the connection's own thread, at its first read: a silent client holds up nobody.
        connection, address = self.socket.accept()
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address


def main(arguments: list[str]) -> int:
    """Serve a folder until ended."""
    port, folder, certificate = arguments
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with _Server(("::", int(port)), handler) as server:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(certificate)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
