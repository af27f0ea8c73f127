import pytest

from flowsonar.config import BudgetSettings, Settings
from flowsonar.probes.preview import preview
from tests.probes.world import SIGNATURES, question


@pytest.mark.parametrize(
    ("asked", "beginning"),
    [
        (question(), ["listen for", "ask http/get, wait", "and 4 at a time", "ask redis/ping", "open TLS"]),
        (question("10.0.0.9:80", rtt_ms=1.0), ["ask http/get on a new connection, wait 0.30 s"]),
        (question("10.0.0.9:443", server_name="www.example"), ["open TLS for www.example"]),
        (question("10.0.0.9:53/udp"), ["ask dns/root, wait"]),
    ],
)
def test_lines(asked, beginning):
    lines = preview(asked, SIGNATURES, Settings())
    for line, expected in zip(lines, beginning, strict=False):
        assert line.startswith(expected)
    assert len(lines) >= len(beginning)


@pytest.mark.parametrize("most", [1, 2, 5])
def test_never_more_than_a_real_conversation(most):
    lines = preview(question(), SIGNATURES, Settings(budget=BudgetSettings(max_probes=most, max_unanswered=0)))
    assert sum("new connection" in line or "open TLS" in line for line in lines) <= most


def test_large_answers_are_named_where_they_are_not_permitted():
    asked = question("10.0.0.9:1900/udp")
    assert "ask loud/search" in "".join(preview(asked, SIGNATURES, Settings()))
    assert "not loud/search" in "".join(preview(asked, SIGNATURES, Settings(), amplifying=False))
