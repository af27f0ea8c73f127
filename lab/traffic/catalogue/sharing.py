"""Peer-to-peer beside BitTorrent (which `lab.hidden` plays): Soulseek, Monero, OpenDHT, Serf's gossip."""

from __future__ import annotations

from pathlib import Path

from lab.traffic.mode import Mode, Stage

__all__ = ["MODES"]

_SHARED_BYTES = 1 << 20
_DHT_LASTS = "sleep {seconds} | dhtnode {words}"
_FAR_S = 60
"""Longer than any pass: what is left then is ended."""


def _soulseek(stage: Stage) -> None:
    port, ports = stage.ports.one(), [stage.ports.one() for _ in range(2)]
    folders = [stage.folder(name) for name in ("alice", "bob")]
    for folder in folders:
        for name in ("shared", "fetched"):
            (folder / name).mkdir()
    (folders[0] / "shared" / "lab.bin").write_bytes(bytes(range(256)) * (_SHARED_BYTES // 256))
    module = "lab.traffic.peers.soulseek"

    def peer(place: int, name: str, seconds: float, *friend: str) -> list[str]:
        words = ("client", name, stage.right, port, ports[place], folders[place], seconds, *friend)
        return stage.python(module, *words)

    stage.serve(*stage.python(module, "server", stage.right, port), name="server", tcp=port)
    stage.client(*peer(0, "alice", stage.seconds + 2), lasts=True)
    stage.client(*peer(1, "bob", stage.seconds - 2, "alice"), after_s=2.0)
    stage.expect("soulseek", "tcp")


def _monero(stage: Stage) -> None:
    port, own, folders = stage.ports.one(), stage.ports.one(), [stage.folder(name) for name in ("right", "left")]
    common = ["--regtest", "--fixed-difficulty", "1", "--non-interactive", "--no-zmq", "--no-igd", "--allow-local-ip"]

    def node(address: str, number: int, folder: Path) -> list[str]:
        ways = ["--p2p-bind-ip", address, "--p2p-bind-port", str(number), "--rpc-bind-port", str(stage.ports.one())]
        return ["monerod", *common, *ways, "--data-dir", str(folder)]

    stage.serve(*node(stage.right, port, folders[0]), name="monerod", tcp=port)
    stage.client(*node(stage.left, own, folders[1]), "--add-exclusive-node", f"{stage.right}:{port}", lasts=True)
    stage.expect("monero", "tcp", port)


def _opendht(stage: Stage) -> None:
    port, own = stage.ports.one(), stage.ports.one()
    there = _DHT_LASTS.format(seconds=_FAR_S, words=f"-i -p {port}")
    stage.serve("sh", "-c", there, name="dhtnode", udp=port)
    here = _DHT_LASTS.format(seconds=int(stage.seconds), words=f"-i -p {own} -b {stage.right}:{port}")
    stage.client("sh", "-c", here, lasts=True)
    stage.expect("opendht", "udp", port)


def _serf(stage: Stage) -> None:
    port = stage.ports.one()

    def agent(name: str, own: str) -> list[str]:
        return ["serf", "agent", f"-node={name}", f"-bind={own}:{port}", f"-rpc-addr=127.0.0.1:{stage.ports.one()}"]

    stage.serve(*agent("right", stage.right), name="serf", tcp=port, udp=port)
    stage.client(*agent("left", stage.left), f"-join={stage.right}:{port}", lasts=True)
    stage.expect("memberlist", "tcp", port)
    stage.expect("memberlist", "udp", port)


MODES: tuple[Mode, ...] = (
    Mode(
        program="aioslsk",
        mode="Soulseek",
        start=_soulseek,
        pip=("aioslsk",),
        middle=False,
        standin="both peers are aioslsk; the server, which nobody publishes, speaks by aioslsk's own messages",
    ),
    Mode(program="monerod", mode="", start=_monero, packages=("monero",), middle=False),
    Mode(program="dhtnode", mode="OpenDHT", start=_opendht, packages=("dhtnode",), middle=False),
    Mode(program="serf", mode="gossip", start=_serf, packages=("serf",)),
)
