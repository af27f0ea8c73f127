import errno
import os
import socket

import pytest

from flowsonar.capture import conntrack
from flowsonar.capture.conntrack import ConntrackSocket
from flowsonar.errors import CaptureError
from tests.needs import needs_root


class Broken:
    """A socket that fails in a given way, then has nothing."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def recv(self, size: int) -> bytes:
        answer = self.answers.pop(0) if self.answers else BlockingIOError()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, bytes)
        return answer


def opened(*answers: object) -> ConntrackSocket:
    made = ConntrackSocket.__new__(ConntrackSocket)
    made.lost = made.malformed = 0
    made._socket = Broken(*answers)  # type: ignore[assignment]
    return made


def test_lost_and_malformed_events_are_counted() -> None:
    source = opened(OSError(errno.ENOBUFS, "No buffer space"), b"\xff" * 40)
    assert source.read() == []
    assert (source.lost, source.malformed) == (1, 1)


def test_a_broken_socket_is_an_error() -> None:
    with pytest.raises(CaptureError, match="gone"):
        opened(OSError(errno.EBADF, "gone")).read()


def test_without_privilege_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(conntrack.socket, "socket", Refused)
    with pytest.raises(CaptureError, match="CAP_NET_ADMIN"):
        ConntrackSocket()


@needs_root()
def test_the_kernel_answers() -> None:
    source = ConntrackSocket()
    assert os.fstat(source.fileno())
    source.read()
    assert source.malformed == 0
    assert source.accounting() in (True, False, None)
    source.close()
