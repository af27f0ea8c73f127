"""pyftpdlib as a server: `python -m lab.peers.ftp_server PORT LOW HIGH FOLDER [--tls PEM]`, on IPv4 and IPv6."""

from __future__ import annotations

import argparse
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Serve a folder to everybody until ended."""
    parser = argparse.ArgumentParser(prog="python -m lab.peers.ftp_server", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("low", type=int, help="first port of passive data connections")
    parser.add_argument("high", type=int)
    parser.add_argument("folder")
    parser.add_argument("--tls", metavar="PEM", help="certificate and key: offer AUTH TLS")
    chosen = parser.parse_args(arguments)
    authorizer = DummyAuthorizer()
    authorizer.add_anonymous(chosen.folder)

    class Handler(TLS_FTPHandler if chosen.tls else FTPHandler):  # type: ignore[misc]
        passive_ports = range(chosen.low, chosen.high + 1)

    Handler.authorizer = authorizer
    if chosen.tls:
        Handler.certfile = chosen.tls
    FTPServer(("::", chosen.port), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
