"""One side of a WebRTC call with aiortc.

`python -m lab.traffic.peers.webrtc ROLE ADDRESS FOLDER WHAT SECONDS [SERVER]`: ROLE is `offer` or `answer`; the session
descriptions go through files in FOLDER, so that no signalling is in the way. WHAT is `audio`, `video` or `data`; SERVER
is a TURN server as `turn:address:port?transport=udp`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import aioice.ice
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

_POLL_S = 0.1


def _said(file: Path) -> dict[str, str] | None:
    return json.loads(file.read_text()) if file.exists() else None


async def _read(file: Path) -> RTCSessionDescription:
    while (said := _said(file)) is None:  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(_POLL_S)
    return RTCSessionDescription(**said)


def _write(file: Path, connection: RTCPeerConnection) -> None:
    said = connection.localDescription
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps({"sdp": said.sdp, "type": said.type}))
    fresh.rename(file)


async def _talk(channel: object) -> None:
    while True:
        if channel.readyState == "open":  # type: ignore[attr-defined]
            channel.send("the laboratory's data " * 20)  # type: ignore[attr-defined]
        await asyncio.sleep(0.2)


async def _main(role: str, address: str, folder: Path, what: str, seconds: float, server: str) -> None:
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [address]  # noqa: ARG005 - others are not ours to use
    servers = [RTCIceServer(urls=server, username="lab", credential="lab")] if server else []
    connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    talking: list[asyncio.Task[None]] = []
    if what != "data":
        connection.addTrack(AudioStreamTrack() if what == "audio" else VideoStreamTrack())
    elif role == "offer":
        talking.append(asyncio.create_task(_talk(connection.createDataChannel("lab"))))
    offer, answer = folder / "offer.json", folder / "answer.json"
    if role == "offer":
        await connection.setLocalDescription(await connection.createOffer())
        _write(offer, connection)
        await connection.setRemoteDescription(await _read(answer))
    else:
        await connection.setRemoteDescription(await _read(offer))
        await connection.setLocalDescription(await connection.createAnswer())
        _write(answer, connection)
    await asyncio.sleep(seconds)
    for task in talking:
        task.cancel()
    await connection.close()


if __name__ == "__main__":
    role, address, folder, what, seconds, *server = sys.argv[1:]
    asyncio.run(_main(role, address, Path(folder), what, float(seconds), server[0] if server else ""))
