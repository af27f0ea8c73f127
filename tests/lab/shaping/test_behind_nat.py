import struct
from pathlib import Path

from lab.shaping.behind_nat import datagrams, telling

from flowsonar.model import Endpoint, Transport
from flowsonar.shaping.datagram import build


def test_answers_to_our_questions_are_told_from_what_a_program_says_itself() -> None:
    assert telling(b"d1:rd2:id20:" + bytes(20) + b"e1:t4:abcd1:y1:re")
    assert telling(b"ab\x77" + bytes(8))
    assert not telling(b"ab\x77" + bytes(9))
    assert not telling(b"d1:ad2:id20:" + bytes(20))
    assert not telling(b"")


def test_datagrams_of_a_capture(tmp_path: Path) -> None:
    here, there = Endpoint(Transport.UDP, "192.0.2.1", 1), Endpoint(Transport.UDP, "192.0.2.2", 2)
    frame = bytes(12) + b"\x08\x00" + build(here, there, b"hello")
    file = tmp_path / "x.pcap"
    whole = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    whole += struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame
    file.write_bytes(whole)
    (found,) = datagrams(file)
    assert (found.source, found.destination, found.payload) == (("192.0.2.1", 1), ("192.0.2.2", 2), b"hello")
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert datagrams(file) == []
