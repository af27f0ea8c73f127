"""Write the seed corpora of the fuzzers, each below a folder: frames and messages of the tests, in their form."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.flows.frames import Conversation, block
from tests.flows.test_reference_decode import LINKS, MALFORMED, OTHER
from tests.flows.tunnels import TUNNELS
from tests.native.test_codecs_dns import SAMPLES as DNS
from tests.native.test_codecs_http import SAMPLES as HTTP
from tests.native.test_codecs_quic import SAMPLES as QUIC
from tests.native.test_codecs_tls import SAMPLES as TLS
from tests.native.test_framing_reference import enhanced, record, ring

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
    return found


def flowtable_seeds() -> dict[str, bytes]:
    """Name and content."""
    found = {}
    for name, linktype, data, *_ in [*LINKS, *MALFORMED, *OTHER]:
        found[f"frame-{name}"] = b"\x05" + harness_frame(linktype, data) * 2
    for name, packet, _ in TUNNELS:
        found[f"tunnel-{name}"] = b"\x05" + harness_frame(101, packet) * 2
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


if __name__ == "__main__":
    for harness, seeds in (("flowtable", flowtable_seeds()), ("codecs", codec_seeds())):
        folder = Path(sys.argv[1]) / harness
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (folder / name).write_bytes(content)
