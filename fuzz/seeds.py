"""Write the seed corpora of the fuzzers, each below a folder: frames and messages of the tests, in their form."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.flows.frames import Conversation, block, udp
from tests.flows.test_reference_decode import LINKS, MALFORMED, OTHER
from tests.flows.test_reference_fragments import MESSAGE, pieces
from tests.flows.tunnels import TUNNELS
from tests.native.test_codecs_dns import SAMPLES as DNS
from tests.native.test_codecs_dtls import SAMPLES as DTLS
from tests.native.test_codecs_http import SAMPLES as HTTP
from tests.native.test_codecs_quic import SAMPLES as QUIC
from tests.native.test_codecs_tls import SAMPLES as TLS
from tests.native.test_framing_reference import enhanced, record, ring

from flowsonar.model import Side, Transport
from flowsonar.signatures import load_signatures
from flowsonar.signatures.lanetables import _made

MESSAGE_MOST = 254
LINK_TYPES = [1, 1, 1, 1, 101, 0, 9, 12, 50, 51, 104, 108, 113, 192, 204, 276]


def harness_frame(linktype: int, data: bytes) -> bytes:
    kind = LINK_TYPES.index(linktype) if linktype in LINK_TYPES else LINK_TYPES.index(101)
    return bytes([kind, min(len(data), 254)]) + data[:254]


def codec_seeds() -> dict[str, bytes]:
    """Name and content, the first byte chooses the codec."""
    found = {}
    for number, data in enumerate(TLS):
        found[f"tls-{number}"] = b"\x01" + data
        found[f"tls-message-{number}"] = b"\x01" + data[5:]
    found |= {f"dns-{number}": b"\x02" + data for number, data in enumerate(DNS)}
    found |= {f"http-{number}": b"\x04" + data for number, data in enumerate(HTTP)}
    for number, data in enumerate(QUIC):
        found |= {f"gquic-{number}": b"\x06" + data, f"quic-{number}": b"\x08" + data}
    found |= {f"dtls-{number}": b"\x0a" + data for number, data in enumerate(DTLS)}
    return found


def flowtable_seeds() -> dict[str, bytes]:
    """Name and content."""
    found = {}
    for name, linktype, data, *_ in [*LINKS, *MALFORMED, *OTHER]:
        found[f"frame-{name}"] = b"\x05" + harness_frame(linktype, data) * 2
    for name, packet, _ in TUNNELS:
        found[f"tunnel-{name}"] = b"\x05" + harness_frame(101, packet) * 2
    for version in (4, 6):
        frames = [frame.data for frame in pieces(udp(MESSAGE[:300]), 8, 96, 96, version=version)]
        found[f"fragments-{version}"] = b"\x05" + b"".join(harness_frame(1, frame) for frame in frames)
    talk = Conversation()
    talk.handshake()
    talk.segment(1, 16, b"220 ready")
    talk.segment(0, 16, b"USER x", at=1010)
    talk.segment(0, 16, b"early", at=1001)
    talk.goodbye()
    found["conversation"] = b"\x0d" + b"".join(harness_frame(1, frame.data) for frame in talk.frames)
    data = block(talk.frames).data
    found["pcap"] = b"\x05" + record("<", 1, 2, data[:54], 54) * 3
    found["pcapng"] = b"\x05" + enhanced("<", 0, 5, data[:54], 54) * 3
    found["ring"] = b"\x05" + bytes(ring([(data[:54], {"status": 0x11}), (data[:54], {})]))
    return found


def lane_seeds() -> dict[str, bytes]:
    """Name and content: what a flow begins with, said by both sides; four choices of what is told of it."""
    found = {}
    for service, signature in load_signatures().services.items():
        for number, example in enumerate(signature.examples):
            if example.side is None or len(example.data) > MESSAGE_MOST:
                continue
            who = (8 if example.transport is Transport.TCP else 0) | (16 if example.side is Side.RESPONDER else 0)
            length = min(len(example.data), 254)
            said = bytes([who, 0, length]) + example.data[:length]
            found[f"{service}-{number}"] = bytes([0x84, 0, 3, 8, 11]) + said + bytes([who ^ 16, 0, 3]) + b"220" + said
    return found


if __name__ == "__main__":
    (Path(sys.argv[1]).parent / "lanes.bin").write_bytes(_made(load_signatures()))
    for harness, seeds in (("flowtable", flowtable_seeds()), ("codecs", codec_seeds()), ("lanes", lane_seeds())):
        folder = Path(sys.argv[1]) / harness
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (folder / name).write_bytes(content)
