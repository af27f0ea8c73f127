"""Starts the real clients: each function writes the settings of one program in one mode and runs it.

Nothing of theirs that announces or maps ports is on; DHT knows no bootstrap node. Rates are low, so that a transfer
lasts as long as the laboratory watches.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.hidden.cases import Client, Encryption, Transports
from lab.hidden.network import Host
from lab.hidden.torrent import Torrent
from lab.packages import VENV
from lab.programs import Program, Programs

__all__ = ["PACKAGES", "PIP", "Running", "start"]

PACKAGES: Mapping[str, str] = {
    "aria2": "aria2",
    "deluge": "deluged",
    "qbittorrent": "qbittorrent-nox",
    "rtorrent": "rtorrent",
    "transmission": "transmission-daemon",
}
"""Debian's package of each kind."""
PIP = ("libtorrent",)
UPLOAD = 60_000
"""Bytes a second that a client gives away."""
_KILO = UPLOAD // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Where and with what a client is to run."""

    programs: Programs
    host: Host
    folder: Path
    port: int
    client: Client
    torrents: Sequence[Torrent]
    seed: bool

    @property
    def files(self) -> Path:
        """Where the content is, or comes."""
        return self.folder / "files"

    @property
    def required(self) -> bool:
        """Whether encryption is."""
        return self.client.encryption is Encryption.REQUIRED

    def run(self, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> Program:
        """Start a program in the host's namespace."""
        home = {"HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}
        return self.programs.start(
            self.host.namespace, arguments, name=self.client.kind, environment={**home, **(environment or {})}
        )


def start(running: Running) -> list[Program]:
    """Start one client; its folder is made, and filled where it is to have the files."""
    running.files.mkdir(parents=True)
    if running.seed:
        for torrent in running.torrents:
            os.link(torrent.folder / torrent.content, running.files / torrent.content)
    return _STARTERS[running.client.kind](running)


def _libtorrent(running: Running) -> list[Program]:
    client = running.client
    file = running.folder / "settings.json"
    chosen = {
        "port": running.port,
        "encryption": str(client.encryption),
        "transport": str(client.transport),
        "dht": client.dht,
        "upload": UPLOAD,
        "seed": running.seed,
        "folder": str(running.files),
        "torrents": [str(torrent.file) for torrent in running.torrents],
    }
    file.write_text(json.dumps(chosen))
    return [running.run(VENV / "bin" / "python", "-m", "lab.hidden.libtorrent_peer", file)]


def _transmission(running: Running) -> list[Program]:
    client, watched = running.client, running.folder / "watched"
    watched.mkdir()
    for torrent in running.torrents:
        shutil.copy(torrent.file, watched)
    levels = {Encryption.OFF: 0, Encryption.PREFERRED: 1, Encryption.REQUIRED: 2}
    chosen = {
        "peer-port": running.port,
        "encryption": levels[client.encryption],
        "utp-enabled": client.transport is not Transports.TCP,
        "dht-enabled": client.dht,
        "lpd-enabled": False,
        "pex-enabled": False,
        "port-forwarding-enabled": False,
        "rpc-enabled": False,
        "download-dir": str(running.files),
        "watch-dir": str(watched),
        "watch-dir-enabled": True,
        "speed-limit-up": _KILO,
        "speed-limit-up-enabled": True,
        "preallocation": 0,
    }
    (running.folder / "settings.json").write_text(json.dumps(chosen))
    return [running.run("transmission-daemon", "-f", "-g", running.folder)]


def _aria2(running: Running) -> list[Program]:
    crypto = {
        Encryption.OFF: ["--bt-require-crypto=false", "--bt-min-crypto-level=plain"],
        Encryption.PREFERRED: ["--bt-require-crypto=false", "--bt-min-crypto-level=arc4"],
        Encryption.REQUIRED: ["--bt-force-encryption=true"],
    }[running.client.encryption]
    dht = ["--enable-dht=true", f"--dht-listen-port={running.port}", f"--dht-file-path={running.folder}/dht.dat"]
    found = dht if running.client.dht else ["--enable-dht=false"]
    common = ["--no-conf", "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--file-allocation=none"]
    share = ["--seed-ratio=0", "--bt-seed-unverified=true", "--allow-overwrite=true", f"--max-upload-limit={_KILO}K"]
    place = [f"--listen-port={running.port}", "-d", str(running.files), "--summary-interval=0", "-q"]
    files = [str(torrent.file) for torrent in running.torrents]
    return [running.run("aria2c", *common, *crypto, *found, *share, *place, *files)]


_QBITTORRENT = """[LegalNotice]
Accepted=true

[Network]
PortForwardingEnabled=false

[BitTorrent]
Session\\Port={port}
Session\\Encryption={encryption}
Session\\BTProtocol={transport}
Session\\DHTEnabled={dht}
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\GlobalUPSpeedLimit={kilo}
Session\\IgnoreLimitsOnLAN=false
Session\\DefaultSavePath={files}
Session\\TempPathEnabled=false
Session\\MultiConnectionsPerIp=true

[Preferences]
WebUI\\Enabled=false
WebUI\\Address=127.0.0.1
"""


def _qbittorrent(running: Running) -> list[Program]:
    client = running.client
    folder = running.folder / "qBittorrent" / "config"
    folder.mkdir(parents=True)
    text = _QBITTORRENT.format(
        port=running.port,
        encryption={Encryption.PREFERRED: 0, Encryption.REQUIRED: 1, Encryption.OFF: 2}[client.encryption],
        transport={Transports.BOTH: "Both", Transports.TCP: "TCP", Transports.UTP: "UTP"}[client.transport],
        dht=str(client.dht).lower(),
        kilo=_KILO,
        files=running.files,
    )
    (folder / "qBittorrent.conf").write_text(text)
    options = [f"--profile={running.folder}", f"--save-path={running.files}", "--skip-dialog=true"]
    if running.seed:
        options.append("--skip-hash-check")
    return [running.run("qbittorrent-nox", *options, *(str(torrent.file) for torrent in running.torrents))]


def _deluge(running: Running) -> list[Program]:
    client, folder = running.client, running.folder
    policy = {Encryption.REQUIRED: 0, Encryption.PREFERRED: 1, Encryption.OFF: 2}[client.encryption]
    chosen = {
        "listen_ports": [running.port, running.port],
        "random_port": False,
        "random_outgoing_ports": True,
        "dht": client.dht,
        "lsd": False,
        "upnp": False,
        "natpmp": False,
        "utpex": False,
        "enc_in_policy": policy,
        "enc_out_policy": policy,
        "enc_level": 1,
        "max_upload_speed": float(_KILO),
        "ignore_limits_on_local_network": False,
        "rate_limit_ip_overhead": False,
        "new_release_check": False,
        "download_location": str(running.files),
        "enabled_plugins": [],
    }
    (folder / "core.conf").write_text(json.dumps({"file": 1, "format": 1}) + json.dumps(chosen))
    (folder / "auth").write_text("localclient:lab:10\n")
    daemon = running.run("deluged", "-d", "-c", folder, "-p", "58846")
    # Its own console adds the torrents, once the daemon is up.
    adding = "; ".join(f"add -p {running.files} {torrent.file}" for torrent in running.torrents)
    script = f'for i in $(seq 40); do deluge-console -c "{folder}" "{adding}" | grep -q added && exit; sleep 0.5; done'
    return [daemon, running.run("sh", "-c", script)]


def _rtorrent(running: Running) -> list[Program]:
    client, folder = running.client, running.folder
    (folder / "session").mkdir()
    encryption = {
        Encryption.OFF: "none",
        Encryption.PREFERRED: "allow_incoming,try_outgoing,enable_retry",
        Encryption.REQUIRED: "allow_incoming,try_outgoing,require,require_RC4",
    }[client.encryption]
    lines = [
        f"directory.default.set = {running.files}",
        f"session.path.set = {folder / 'session'}",
        f"network.port_range.set = {running.port}-{running.port}",
        "network.port_random.set = no",
        f"protocol.encryption.set = {encryption}",
        "protocol.pex.set = no",
        "trackers.use_udp.set = no",
        f"dht.mode.set = {'on' if client.dht else 'disable'}",
        f"dht.port.set = {running.port}",
        f"throttle.global_up.max_rate.set_kb = {_KILO}",
        "system.daemon.set = true",
        *(f"schedule2 = load{number}, 1, 0, ((load.start, {one.file}))" for number, one in enumerate(running.torrents)),
    ]
    (folder / "rtorrent.rc").write_text("\n".join(lines) + "\n")
    return [running.run("rtorrent", "-n", "-o", f"import={folder / 'rtorrent.rc'}")]


_STARTERS: Mapping[str, Callable[[Running], list[Program]]] = {
    "aria2": _aria2,
    "deluge": _deluge,
    "libtorrent": _libtorrent,
    "qbittorrent": _qbittorrent,
    "rtorrent": _rtorrent,
    "transmission": _transmission,
}
