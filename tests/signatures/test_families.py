from pathlib import Path

from flowsonar.model import Confidence, Side, Transport
from flowsonar.signatures import Matcher, Reply, check
from flowsonar.signatures.families import specificities
from tests.signatures.files import signatures

CHILD = """
parent = "http"
[[reply]]
name = "sure"
pattern = '^HTTP/1\\.[01] [2-5](?s:.*)X-Sample: 1'
confidence = "confirmed"
[[reply]]
name = "perhaps"
pattern = '^HTTP/1\\.[01] 4(?s:.*)sample page'
confidence = "likely"
product = "Sample"
[[payload]]
name = "asked"
side = "initiator"
pattern = '^GET /_sample HTTP/1'
confidence = "likely"
"""
EXAMPLES = r"""
[[example]]
after = "http/get"
bytes = 'HTTP/1.1 200 OK\r\nServer: x\r\nX-Sample: 1\r\n\r\n'
pattern = "sure"
[[example]]
after = "http/get"
bytes = 'HTTP/1.1 404 Not Found\r\nContent-Length: 11\r\n\r\nsample page'
pattern = "perhaps"
product = "Sample"
[[example]]
side = "initiator"
bytes = 'GET /_sample HTTP/1.1\r\nHost: x\r\n\r\n'
[[example]]
after = "http/get"
bytes = 'HTTP/1.1 200 OK\r\nServer: x\r\n\r\n'
matches = false
"""


def said(matcher: Matcher, data: bytes) -> list[tuple[str, Confidence]]:
    reply = Reply(probe="http/get", step=0, data=data, transport=Transport.TCP, sent={})
    return list(dict.fromkeys((match.service, match.confidence) for match in matcher.reply(reply)))


def test_a_child_as_sure_as_its_parent_is_told_first(tmp_path: Path) -> None:
    loaded = signatures(tmp_path, CHILD + EXAMPLES)
    matcher = Matcher(loaded, engine="re2")
    assert check(loaded, matcher) == []
    assert said(matcher, b"HTTP/1.1 200 OK\r\nServer: nginx/1.2\r\nX-Sample: 1\r\n\r\n") == [
        ("sample", Confidence.CONFIRMED),
        ("http", Confidence.CONFIRMED),
        ("http", Confidence.LIKELY),
    ]
    asked = matcher.payload(Transport.TCP, Side.INITIATOR, b"GET /_sample HTTP/1.1\r\nHost: x\r\n\r\n")
    assert {match.service for match in asked} == {"sample", "http"}


def test_a_likely_child_does_not_hide_a_confirmed_parent(tmp_path: Path) -> None:
    matcher = Matcher(signatures(tmp_path, CHILD + EXAMPLES), engine="re2")
    matches = said(matcher, b"HTTP/1.1 404 Not Found\r\nContent-Length: 11\r\n\r\nsample page")
    assert matches.index(("http", Confidence.CONFIRMED)) < matches.index(("sample", Confidence.LIKELY))


def test_grandchildren_stand_above_children(tmp_path: Path) -> None:
    grandchild = """
parent = "sample"
[[reply]]
name = "surer"
pattern = '^HTTP/1\\.[01] [2-5](?s:.*)X-Sample: 1\\.1'
confidence = "confirmed"
[[reply]]
name = "family"
pattern = '^HTTP'
confidence = "guess"
soft = true
"""
    known = specificities(signatures(tmp_path, CHILD, grandchild))
    http = max(value for name, value in known.items() if name.startswith("http/"))
    assert known["sample1/surer"] > known["sample/sure"] > http
    assert known["sample1/family"] == 10
