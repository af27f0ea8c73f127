"""A web server over HTTP/3: `python -m lab.peers.h3_server PORT CERTIFICATE`, with aioquic from PyPI."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any


async def _serve(port: int, certificate: str) -> None:
    library = importlib.import_module("aioquic.asyncio")
    events = importlib.import_module("aioquic.quic.events")
    web = importlib.import_module("aioquic.h3.connection")
    headers = importlib.import_module("aioquic.h3.events").HeadersReceived
    configuration = importlib.import_module("aioquic.quic.configuration").QuicConfiguration(
        is_client=False, alpn_protocols=web.H3_ALPN
    )
    configuration.load_cert_chain(certificate)

    def event(self: Any, one: object) -> None:
        if isinstance(one, events.ProtocolNegotiated):
            self.http = web.H3Connection(self._quic)
        for said in self.http.handle_event(one) if hasattr(self, "http") else ():
            if isinstance(said, headers):
                self.http.send_headers(said.stream_id, [(b":status", b"200"), (b"content-type", b"text/plain")])
                self.http.send_data(said.stream_id, b"page\n", end_stream=True)
                self.transmit()

    protocol = type("Protocol", (library.QuicConnectionProtocol,), {"quic_event_received": event})
    await library.serve("0.0.0.0", port, configuration=configuration, create_protocol=protocol)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2]))
