"""The pcap format in all its forms."""

import pytest

from flowsonar.capture import pcap
from tests.capture.build import Frame, frames, pcap_header, pcap_record

FORMS = [
    # magic, nanoseconds per unit, further bytes in each record header
    (0xA1B2C3D4, 1000, b""),
    (0xA1B23C4D, 1, b""),
    (0xA1B2CD34, 1000, b"\0\0\0\2\x08\x00\0\0"),
]


def read(data: bytes) -> tuple[list[Frame], int, str | None]:
    reader = pcap.PcapReader(data[:24])
    found = frames(reader.blocks(data[24:]))
    assert not reader.skipping
    return found, reader.consumed, reader.problem


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit_ns", "extra"), FORMS)
def test_forms(order: str, magic: int, unit_ns: int, extra: bytes) -> None:
    records = pcap_record(order, 1_700_000_000, 123_456, b"a" * 60, 1514, extra)
    records += pcap_record(order, 1_700_000_001, 999_999, b"b", None, extra)
    found, consumed, problem = read(pcap_header(order, magic, 113) + records)
    assert problem is None
    assert consumed == len(records)
    assert found == [
        Frame(1_700_000_000_000_000_000 + 123_456 * unit_ns, b"a" * 60, 1514, 113, 0),
        Frame(1_700_000_001_000_000_000 + 999_999 * unit_ns, b"b", 1, 113, 0),
    ]


def test_every_magic_has_its_form() -> None:
    assert len(pcap.MAGICS) == 2 * len(FORMS)
    for magic, unit_ns, extra in FORMS:
        assert pcap.MAGICS[magic.to_bytes(4, "big")] == (">", unit_ns, len(extra))
        assert pcap.MAGICS[magic.to_bytes(4, "little")] == ("<", unit_ns, len(extra))


@pytest.mark.parametrize(
    ("version", "exchanged"), [((2, 4), False), ((2, 3), False), ((2, 3), True), ((2, 2), True), ((2, 0), True)]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_old_versions_with_exchanged_lengths(order: str, version: tuple[int, int], exchanged: bool) -> None:
    records = b""
    for length in (10, 20):
        record = pcap_record(order, 1, 2, b"c" * length, 1000)
        records += record[:8] + record[12:16] + record[8:12] + record[16:] if exchanged else record
    found, consumed, problem = read(pcap_header(order, version=version) + records)
    assert [(len(frame.data), frame.wire) for frame in found] == [(10, 1000), (20, 1000)]
    assert (consumed, problem) == (len(records), None)
    reader = pcap.PcapReader(pcap_header(order, version=version))
    assert reader.needed(records[:20]) == 26


def test_frame_check_sequence_bits_are_no_link_type() -> None:
    found, _, _ = read(pcap_header(linktype=0x54000001) + pcap_record("<", 1, 2, b"d"))
    assert found[0].linktype == 1


@pytest.mark.parametrize("form", FORMS)
def test_needed(form: tuple[int, int, bytes]) -> None:
    magic, _, extra = form
    record = pcap_record("<", 1, 2, b"e" * 100, None, extra)
    reader = pcap.PcapReader(pcap_header(magic=magic))
    for cut in range(len(record)):
        assert list(reader.blocks(record[:cut])) == []
        assert reader.consumed == 0
        assert cut < reader.needed(record[:cut]) <= len(record)
    assert reader.needed(record[:-1]) == len(record)


def test_a_length_that_lies() -> None:
    good = pcap_record("<", 1, 2, b"f" * 100)
    lie = bytearray(pcap_record("<", 1, 2, b"g" * 100))
    lie[8:12] = b"\xff\xff\xff\x7f"
    found, consumed, problem = read(pcap_header() + good + bytes(lie))
    assert len(found) == 1
    assert consumed == len(good)
    assert problem is not None
