"""Conversations meet these in test_engine."""

import errno
import socket

import pytest

from flowsonar.model import Outcome
from flowsonar.probes.troubles import Trouble, handshake_s, stands, told_by, unacknowledged


@pytest.mark.parametrize(
    ("code", "connecting", "trouble", "outcome"),
    [
        (errno.ECONNREFUSED, True, Trouble.REFUSED, Outcome.REFUSED),
        (errno.EHOSTUNREACH, True, Trouble.REFUSED, Outcome.UNREACHABLE),
        (errno.EPERM, True, Trouble.PROHIBITED, Outcome.UNREACHABLE),
        (errno.ENOBUFS, True, Trouble.NONE, Outcome.CANCELLED),
        (errno.ECONNRESET, True, Trouble.NONE, Outcome.REFUSED),
        (errno.ECONNRESET, False, Trouble.NONE, Outcome.CLOSED),
    ],
)
def test_errors_say_what_was_met_and_what_it_means(code, connecting, trouble, outcome):
    assert told_by(OSError(code, "Text"), connecting=connecting)[:2] == (trouble, outcome)


def test_an_error_without_words_is_told_too():
    assert told_by(OSError(), connecting=False) == (Trouble.NONE, Outcome.CLOSED, "broken")


def test_the_kernel_is_asked_only_about_what_it_knows():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert handshake_s(datagrams) == 0.0
        assert not unacknowledged(datagrams)
        assert not stands(datagrams)
    closed = socket.socket()
    closed.close()
    assert handshake_s(closed) == 0.0
    assert not unacknowledged(closed)
    assert not stands(closed)


def test_what_was_acknowledged_is_known():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        assert handshake_s(ours) > 0
        assert not unacknowledged(ours)
        assert stands(ours)
