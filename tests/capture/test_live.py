import socket

import pytest

from flowsonar.capture.live import LiveCapture
from flowsonar.errors import CaptureError
from tests.needs import needs_root

pytestmark = needs_root()


def test_blocks_come_and_nothing_comes_too() -> None:
    with LiveCapture(["lo"], blocks=8, filter=None, duration_s=20) as capture:
        blocks = iter(capture)
        next(blocks)  # the rings stand
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"n2 live capture", ("127.0.0.1", 9))
        assert any(b"n2 live capture" in bytes(block.data) for block in blocks)
        assert capture.position
        assert capture.counters()["kernel_packets"]
    assert capture.counters()["kernel_drops"] == 0


def test_what_has_come_before_the_end_is_given() -> None:
    with LiveCapture(["lo"], blocks=8) as capture:
        blocks = iter(capture)
        next(blocks)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"lead live capture, last words", ("127.0.0.1", 9))
        capture.stop()
        assert any(b"last words" in bytes(block.data) for block in blocks)


def test_it_ends_by_itself() -> None:
    with LiveCapture(["lo"], blocks=8, duration_s=0.0) as capture:
        assert len(list(capture)) <= 8  # what came meanwhile


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(CaptureError, match="no-such"):
        LiveCapture(["lo", "no-such-if0"], blocks=8)
