"""A libtorrent that keeps asking one node of the DHT: `python -m lab.shaping.dht_node OWN PORT PEER`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Run until it is ended."""
    import libtorrent  # noqa: PLC0415 - in the laboratory's environment only

    own, port, peer = arguments[0], int(arguments[1]), arguments[2]
    settings = {
        "listen_interfaces": f"{own}:{port}",
        "enable_dht": True,
        "dht_bootstrap_nodes": "",
        "dht_restrict_routing_ips": False,
        "dht_restrict_search_ips": False,
        "dht_prefer_verified_node_ids": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "alert_mask": 0,
    }
    session = libtorrent.session(settings)
    while True:
        session.add_dht_node((peer, port))
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
