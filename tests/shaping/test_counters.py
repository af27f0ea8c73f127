import socket
from pathlib import Path

from flowsonar.shaping.applier import Applier
from flowsonar.shaping.classes import DEFAULT_CLASSES
from flowsonar.shaping.counters import QueueCounters, read_cake, read_htb
from flowsonar.shaping.queues import Line, plan

from .namespaces import inside, needs_root, run
from .test_queues import SMALL

HTB = [
    {"kind": "htb", "handle": "1:", "root": True, "bytes": 700, "packets": 7, "drops": 0, "backlog": 0},
    {"kind": "pfifo", "handle": "120:", "parent": "1:20", "bytes": 600, "packets": 3, "drops": 1, "backlog": 40},
    {"kind": "pfifo", "handle": "777:", "parent": "7:20", "bytes": 600, "packets": 3, "drops": 1, "backlog": 40},
]
CAKE = [
    {
        "kind": "cake",
        "root": True,
        "tins": [
            {"sent_bytes": 9, "sent_packets": 1, "drops": 2, "backlog_bytes": 3, "avg_delay_us": 1500},
            {"sent_bytes": 8, "sent_packets": 1, "drops": 0, "backlog_bytes": 0, "avg_delay_us": 0},
        ],
    }
]


def test_the_classes_of_htb() -> None:
    assert list(read_htb(HTB, DEFAULT_CLASSES)) == [("realtime", 600, 3, 1, 40)]


def test_the_tins_of_cake() -> None:
    assert list(read_cake(CAKE)) == [("bulk", 9, 1, 2, 3, 1.5), ("best effort", 8, 1, 0, 0, 0.0)]


def test_delay_is_what_waits_over_the_rate() -> None:
    clock = iter([1.0, 2.0])
    counters = QueueCounters((), DEFAULT_CLASSES, clock=lambda: next(clock))
    assert counters._delay_ms("wan", ("bulk", 1000, 0, 0, 50), 1.0) is None
    assert counters._delay_ms("wan", ("bulk", 2000, 0, 0, 500), 2.0) == 500.0
    assert counters._delay_ms("wan", ("bulk", 2000, 0, 0, 500), 3.0) is None


@needs_root
def test_a_packet_with_a_priority_is_counted_in_its_class(tmp_path: Path) -> None:
    with inside("wan", "lan"):
        chosen = plan(SMALL, [Line(wan="wan", up_kbit=4750, lan=("lan",))])
        applier = Applier(tmp_path / "state.json")
        applier.apply(chosen)
        run("ip", "addr", "add", "198.18.0.1/24", "dev", "wan")
        run("ip", "neigh", "add", "198.18.0.2", "lladdr", "02:00:00:00:00:01", "dev", "wan")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, DEFAULT_CLASSES[1].priority)
            sender.sendto(b"x" * 100, ("198.18.0.2", 9))
        counts = {count.name: count for count in QueueCounters(chosen.places, DEFAULT_CLASSES).read()}
        assert set(counts) == {str(one.name) for one in DEFAULT_CLASSES}
        assert counts["realtime"].packets == 1
        assert counts["default"].direction == "up"
        applier.undo()
        assert QueueCounters(chosen.places, DEFAULT_CLASSES).read() == ()
