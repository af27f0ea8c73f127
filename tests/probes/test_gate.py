"""What the gate works out for sockets; that it forbids is shown with the prober and the scope."""

import pytest

from flowsonar.config import Settings
from flowsonar.model import Endpoint, Transport
from flowsonar.probes.gate import Gate


@pytest.mark.parametrize(("settings", "word"), [({"passive": True}, "passive"), ({"dry_run": True}, "dry run")])
def test_nothing_leaves_in_passive_mode_and_in_a_dry_run(settings, word):
    gate = Gate(Settings(**settings), lambda _entry: None)
    endpoint = Endpoint(Transport.TCP, "127.0.0.1", 80)
    assert word in gate.forbids(endpoint)
    assert gate.permits(endpoint) is None
