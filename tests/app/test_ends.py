import json
import socket

import pytest

from flowsonar.app.ends import Ends
from flowsonar.config import CaptureSettings, Settings
from flowsonar.errors import CaptureError, ConfigError
from flowsonar.outputs.eve import encode
from tests.needs import needs_root


@needs_root()
def test_flows_are_given_when_they_end() -> None:
    reading = Ends(["lo", "lo"], Settings(passive=True), duration_s=1.0)
    lines: list[bytes] = []
    port = 0
    for ended in reading.lines():
        lines += [one if isinstance(one, bytes) else encode(one) for one in ended]
        if not port:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind(("127.0.0.1", 0))
                port = sender.getsockname()[1]
                sender.sendto(b"what nobody knows", ("127.0.0.1", 9))
    records = [json.loads(line) for text in lines for line in text.splitlines()]
    assert all(record["event_type"] == "flow" for record in records)
    assert any(record.get("src_port") == port for record in records)
    assert reading.counters["kernel_packets"]
    assert reading.problems == []


@needs_root()
def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(CaptureError, match="no-such"):
        next(Ends(["no-such-if0"]).lines())


def test_a_ring_has_a_size() -> None:
    with pytest.raises(ConfigError, match="ring_mib"):
        Ends(["lo"], Settings(capture=CaptureSettings(ring_mib=1 << 20)))
