"""A client that goes on talking: for flows that must still be alive when the watching begins.

    python -m lab.peers.talk [--udp|--tls] ADDRESS PORT [--listen] [--open TEXT]... [--say TEXT] [--every S]

It says each `--open` text and waits for an answer, then `--say` every so often. Texts have Python's escapes.
"""

from __future__ import annotations

import argparse
import select
import socket
import ssl
import sys
import time

__all__ = ["main"]

_ANSWER_S = 2.0


def _text(escaped: str) -> bytes:
    return escaped.encode().decode("unicode_escape").encode("latin-1")


def _connect(chosen: argparse.Namespace) -> socket.socket:
    family = socket.AF_INET6 if ":" in chosen.address else socket.AF_INET
    end = socket.socket(family, socket.SOCK_DGRAM if chosen.udp else socket.SOCK_STREAM)
    end.settimeout(10)
    end.connect((chosen.address, chosen.port))
    if chosen.starttls:
        _hear(end, _ANSWER_S)
        end.send(chosen.starttls)
        _hear(end, _ANSWER_S)
    elif not chosen.tls:
        return end
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(end, server_hostname="server.lab.example")


def _hear(end: socket.socket, wait_s: float) -> None:
    """Read what is there, waiting at most `wait_s` for its beginning."""
    pending = isinstance(end, ssl.SSLSocket) and end.pending()
    if pending or select.select([end], [], [], wait_s)[0]:
        end.recv(65536)


def main(arguments: list[str]) -> int:
    """Talk; 0 when the time is over, 1 when the other side ended it."""
    parser = argparse.ArgumentParser(prog="python -m lab.peers.talk", description=__doc__)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--udp", action="store_true")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--starttls", type=_text, help="after the greeting say this, hear an answer and begin TLS")
    parser.add_argument("--listen", action="store_true", help="the server speaks first")
    parser.add_argument("--open", type=_text, action="append", default=[])
    parser.add_argument("--say", type=_text, default=b"")
    parser.add_argument("--every", type=float, default=0.3)
    parser.add_argument("--seconds", type=float, default=120.0)
    chosen = parser.parse_args(arguments)
    end_s = time.monotonic() + chosen.seconds
    try:
        with _connect(chosen) as end:
            if chosen.listen:
                _hear(end, _ANSWER_S)
            for text in chosen.open:
                end.send(text)
                _hear(end, _ANSWER_S)
            while time.monotonic() < end_s:
                if chosen.say:
                    end.send(chosen.say)
                next_s = min(end_s, time.monotonic() + chosen.every)
                while (left_s := next_s - time.monotonic()) > 0:
                    _hear(end, left_s)
                    time.sleep(0.001)  # an ended connection is readable for ever
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
