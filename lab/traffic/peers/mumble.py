"""Talks to a Mumble server with pymumble: `python -m lab.traffic.peers.mumble ADDRESS PORT SECONDS`."""

from __future__ import annotations

import ssl
import sys
import time

if not hasattr(ssl, "wrap_socket"):  # pymumble is older than Python 3.12

    def _wrap(sock: object, **_: object) -> object:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(sock)  # type: ignore[arg-type]

    ssl.wrap_socket = _wrap  # type: ignore[attr-defined]

import pymumble_py3

if __name__ == "__main__":
    host, port, seconds = sys.argv[1:]
    mumble = pymumble_py3.Mumble(host, "lab", port=int(port))
    mumble.daemon = True
    mumble.start()
    mumble.is_ready()
    end_s = time.monotonic() + float(seconds)
    while time.monotonic() < end_s:
        mumble.users.myself.comment("laboratory")
        time.sleep(0.5)
