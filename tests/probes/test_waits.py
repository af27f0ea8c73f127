"""How long is waited, as the planner asks for it."""

import pytest

from flowsonar.model import Layer, Side
from flowsonar.probes.moves import Listen, Seen, TlsState
from flowsonar.probes.planner import Planner
from tests.probes.world import SIGNATURES, question

PLANNER = Planner(SIGNATURES, max_probes=5, timeout_s=3.0)
HELLO = bytes.fromhex("1603010200010001fc0303")


def seen(**values) -> Seen:
    return Seen(**{"rtt_s": 0.001, **values})


@pytest.mark.parametrize(
    ("rtt_s", "low", "high"), [(0.0001, 0.008, 0.009), (0.01, 0.018, 0.019), (0.08, 0.085, 0.095), (2.0, 1.0, 1.0)]
)
def test_listening_fits_the_path(rtt_s, low, high):
    move = PLANNER.next(question(), seen(rtt_s=rtt_s))
    assert isinstance(move, Listen)
    assert low <= move.seconds <= high


def inside(handshake_s, **hints):
    state = seen(rtt_s=0.08, open=True, over=Layer.TLS, tls=TlsState.OPEN, spent=1, handshake_s=handshake_s)
    return PLANNER.next(question(**hints), state)


def test_inside_tls_a_server_that_thinks_long_is_listened_to_for_longer():
    quick, slow = inside(0.16, initiator_bytes=HELLO, alpn=("x",)), inside(0.36, initiator_bytes=HELLO, alpn=("x",))
    assert quick.seconds == pytest.approx(0.11)
    assert slow.seconds == pytest.approx(0.31)


def test_inside_tls_a_client_without_alpn_hints_at_a_server_that_speaks_first():
    assert inside(0.16, initiator_bytes=HELLO).seconds > inside(0.16).seconds + 0.1


def test_a_server_that_the_flow_saw_speak_first_is_waited_for():
    move = PLANNER.next(question(first_speaker=Side.RESPONDER), seen())
    assert isinstance(move, Listen)
    assert move.seconds > 0.4


def test_waits_for_replies_grow_with_the_path_and_never_beyond_the_time_left():
    asked = question(first_speaker=Side.INITIATOR)
    near, far = PLANNER.next(asked, seen(rtt_s=0.001)), PLANNER.next(asked, seen(rtt_s=0.1))
    late = PLANNER.next(asked, seen(rtt_s=0.1, elapsed_s=2.9))
    assert near.seconds < far.seconds < 0.6
    assert late.seconds == pytest.approx(0.1)
