"""A peer made of libtorrent itself, which can do everything that is to be seen.

    python -m lab.hidden.libtorrent_peer SETTINGS.json

Settings: port, encryption (off, preferred, required), transport (both, tcp, utp), dht, upload (bytes a second), seed,
folder, torrents (files).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["main", "settings"]

_POLICY = {"required": 0, "preferred": 1, "off": 2}
"""libtorrent's `pe_forced`, `pe_enabled`, `pe_disabled`."""
_RC4 = 2
"""`pe_rc4`: the whole stream is enciphered, not the handshake alone."""


def settings(chosen: dict[str, Any]) -> dict[str, Any]:
    """Give libtorrent's own names for what was chosen."""
    policy = _POLICY[chosen["encryption"]]
    tcp, utp = chosen["transport"] != "utp", chosen["transport"] != "tcp"
    return {
        "listen_interfaces": f"0.0.0.0:{chosen['port']}",
        "in_enc_policy": policy,
        "out_enc_policy": policy,
        "allowed_enc_level": _RC4,
        "prefer_rc4": True,
        "enable_outgoing_tcp": tcp,
        "enable_incoming_tcp": tcp,
        "enable_outgoing_utp": utp,
        "enable_incoming_utp": utp,
        "enable_dht": bool(chosen["dht"]),
        "dht_bootstrap_nodes": "",
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "upload_rate_limit": chosen["upload"],
        "rate_limit_ip_overhead": False,
        "allow_multiple_connections_per_ip": True,
        "mixed_mode_algorithm": 0,
    }


def main(arguments: list[str]) -> None:
    """Share until ended."""
    import libtorrent  # noqa: PLC0415 - in the laboratory's environment only

    chosen = json.loads(Path(arguments[0]).read_text())
    session = libtorrent.session(settings(chosen))
    limited = libtorrent.ip_filter()
    limited.add_rule("0.0.0.0", "255.255.255.255", 1 << libtorrent.session.global_peer_class_id)
    session.set_peer_class_filter(limited)  # private addresses are not limited otherwise
    for path in chosen["torrents"]:
        parameters = libtorrent.add_torrent_params()
        parameters.ti = libtorrent.torrent_info(path)
        parameters.save_path = chosen["folder"]
        if chosen["seed"]:
            parameters.flags |= libtorrent.torrent_flags.seed_mode
        session.add_torrent(parameters).resume()
    while True:
        time.sleep(1)
        session.pop_alerts()


if __name__ == "__main__":
    main(sys.argv[1:])
