import pytest

from flowsonar.app.packets import PacketSource
from flowsonar.config import FlowSettings
from flowsonar.errors import CaptureError


def test_names_count_once() -> None:
    assert PacketSource(["lo", "eth0", "lo"], FlowSettings()).interfaces == ("lo", "eth0")


def test_what_cannot_be_opened_leaves_nothing_open() -> None:
    source = PacketSource(["no-such-interface"], FlowSettings())
    with pytest.raises(CaptureError):
        source.open()
    assert source.close() == []
    assert source.counters()["kernel_drops"] == 0
    assert source.check() == []
