import pytest

from flowsonar.probes.traits import begins, is_http2, is_line, is_random, is_text
from flowsonar.signatures.loader import load_signatures
from tests.probes.world import SIGNATURES


@pytest.mark.parametrize(
    ("name", "text", "chance", "http2"),
    [
        ("http/get", True, False, False),
        ("http/http2", True, False, True),
        ("tls/hello", False, False, False),
        ("dns/root", False, False, False),
        ("skype/udp", False, True, False),
        ("echo/random", False, True, False),
    ],
)
def test_traits(name, text, chance, http2):
    probe = SIGNATURES.probe(name)
    assert (is_text(probe), is_random(probe), is_http2(probe)) == (text, chance, http2)


@pytest.mark.parametrize(("service", "name", "line"), [("redis", "info", True), ("sip", "options-tcp", False)])
def test_lines_and_messages(service, name, line):
    probe = next(probe for probe in load_signatures().services[service].probes if probe.name == name)
    assert is_line(probe) is line


def test_how_a_question_begins():
    assert begins(SIGNATURES.probe("http/get")).startswith(b"GET /")
    assert begins(SIGNATURES.probe("skype/udp")) == b""
