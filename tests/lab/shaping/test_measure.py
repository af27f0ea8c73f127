import math
import struct
from pathlib import Path

import pytest
from lab.shaping.measure import Kind, carried, delays, in_kernel, marks, packets, percentile, waits

from lab.shaping import measure

SERVER, CLIENT = ("198.18.50.10", 4000), ("192.168.41.3", 5000)
TRUTH = {(*SERVER, "tcp"): Kind("bulk", frozenset({1}))}


def address(text: str) -> bytes:
    return bytes(map(int, text.split(".")))


def frame(source: tuple[str, int], destination: tuple[str, int], dscp: int) -> bytes:
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, dscp << 2, 40, 0, 0, 64, 6, 0, address(source[0]), address(destination[0])
    )
    return bytes(12) + b"\x08\x00" + head + struct.pack("!HH", source[1], destination[1]) + bytes(16)


def capture(file: Path, *seen: tuple[float, bytes]) -> Path:
    data = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 96, 1)
    for time_s, raw in seen:
        data += struct.pack("<IIII", int(time_s), round(time_s % 1 * 1e9), len(raw), 1000) + raw
    file.write_bytes(data)
    return file


def test_packets_are_read_and_a_cut_file_is_no_harm(tmp_path: Path) -> None:
    file = capture(tmp_path / "a", (1.5, frame(CLIENT, SERVER, 1)))
    (found,) = packets(file)
    assert (found.source, found.destination, found.transport, found.dscp) == (CLIENT, SERVER, "tcp", 1)
    assert found.time_ns == 1_500_000_000
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        list(packets(file))


def test_marks_by_time_and_by_bytes(tmp_path: Path) -> None:
    ours = frame(("198.18.41.2", 7777), SERVER, 16)  # a question of the gateway itself
    outside = capture(
        tmp_path / "wan", (10.0, frame(CLIENT, SERVER, 0)), (10.2, frame(CLIENT, SERVER, 1)), (10.3, ours)
    )
    seen = [(10.05, 0), (10.1, 0), (12.0, 1), (12.5, 0), (13.0, 46)]
    inside = capture(tmp_path / "lan", *((time_s, frame(SERVER, CLIENT, dscp)) for time_s, dscp in seen))
    found = marks(outside, inside, TRUTH, 0, 20_000_000_000)["bulk"]
    assert (found.flows, found.packets) == (1, 7)
    assert [round(value) for value in found.first_ms] == [150]
    assert found.kernel_ms == []
    kernel = {(*SERVER, "tcp"): 10_120_000_000}
    assert marks(outside, inside, TRUTH, 0, 20_000_000_000, kernel)["bulk"].kernel_ms == [pytest.approx(70.0)]
    assert found.late == 3
    assert (found.right, found.octets) == (1000, 3000)
    assert found.wrong == 1


def test_what_the_line_carried(tmp_path: Path) -> None:
    outside = capture(tmp_path / "wan", (10.0, frame(CLIENT, SERVER, 0)), (11.0, frame(SERVER, CLIENT, 0)))
    inside = capture(tmp_path / "lan", (10.0, frame(SERVER, CLIENT, 0)), (10.0, frame(CLIENT, SERVER, 0)))
    found = carried(outside, inside, TRUTH, 0, 20_000_000_000)
    assert found == {"up": {"bulk": 1000}, "down": {"bulk": 1000}}


def test_delays_and_losses(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("5 1000000000 1010000000\n7 1040000000 1055000000\n9 9000000000 9010000000\nsent 12\n")
    found = delays(log, 0, 2_000_000_000)
    assert (found.sent, found.lost) == (3, 1)
    assert found.ms == [10.0, 15.0]


def test_percentiles() -> None:
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([float(n) for n in range(1, 101)], 99) == 99
    assert math.isnan(percentile([], 99))


def test_waits_are_those_of_marks(tmp_path: Path) -> None:
    log = tmp_path / "shape.jsonl"
    log.write_text(
        '{"event_type": "verdict"}\n{"event_type": "mark", "shaping": {"waited_ms": 0.5}}\n{"event_type": "classes"}\n'
    )
    assert waits(log) == [0.5]


def test_the_first_mark_of_an_endpoint_counts(tmp_path: Path) -> None:
    log = tmp_path / "shape.jsonl"
    line = (
        '{"event_type": "mark", "timestamp": "1970-01-01T00:00:%s+0000", "dest_ip": "10.0.0.1", "dest_port": 7,'
        ' "proto": "TCP", "shaping": {"action": "%s"}}'
    )
    events = [("08.000000", "released"), ("10.000123", "marked"), ("11.000000", "marked")]
    log.write_text("\n".join(['{"event_type": "verdict"}', *(line % event for event in events)]))
    assert in_kernel(log) == {("10.0.0.1", 7, "tcp"): 10_000_123_000}


def test_what_was_under_way_when_the_machine_stood_still_is_left_out() -> None:
    delays = measure.Delays(sent=5, points=[(0.97, 1.0), (0.99, 2.0), (1.1, 3.0), (1.3, 4.0), (1.4, 5.0)])
    delays.leave_out(10**9, [(2_000_000_000, 2_100_000_000)])
    assert delays.ms == [1.0, 5.0]
    assert delays.left_out == [(0.99, 2.0), (1.1, 3.0), (1.3, 4.0)]
    assert not delays.tells()
    assert delays.tells(since_s=1.3)
    assert not delays.tells(since_s=2.0)


def test_what_the_gateway_asks_from_a_port_that_a_flow_had_is_not_the_flows(tmp_path: Path) -> None:
    inside = capture(tmp_path / "lan", (1.0, frame(CLIENT, SERVER, 0)), (2.0, frame(SERVER, CLIENT, 1)))
    outside = capture(tmp_path / "wan", (1.0, frame(CLIENT, SERVER, 8)), (9.0, frame(CLIENT, SERVER, 16)))
    found = marks(outside, inside, TRUTH, 0, 20_000_000_000)["bulk"]
    assert found.wrong == 1
    assert found.others == [("198.18.50.10:4000/tcp and port 5000", 8)]
