"""Labels against truth."""

import pytest
from lab.truth import CLEAR, EITHER, TLS, Judgement, Registry, Truth, judge

HTTP, HTTPS = Truth(service="http"), Truth(service="http", over=TLS)
STARTTLS, IMPOSTOR = Truth(service="smtp", over=EITHER), Truth(service=None)


@pytest.mark.parametrize(
    ("truth", "service", "over", "expected"),
    [
        (HTTP, "http", None, Judgement.RIGHT),
        (HTTP, "http", "tls", Judgement.WRONG),
        (HTTP, "tls", None, Judgement.WRONG),
        (HTTP, "ftp", None, Judgement.WRONG),
        (HTTP, None, None, Judgement.UNKNOWN),
        (HTTPS, "http", "tls", Judgement.RIGHT),
        (HTTPS, "http", None, Judgement.WRONG),
        (HTTPS, "tls", None, Judgement.OUTSIDE),
        (HTTPS, "imap", "tls", Judgement.WRONG),
        (STARTTLS, "smtp", None, Judgement.RIGHT),
        (STARTTLS, "smtp", "tls", Judgement.RIGHT),
        (IMPOSTOR, None, None, Judgement.RIGHT),
        (IMPOSTOR, "echo", None, Judgement.WRONG),
    ],
)
def test_judge(truth: Truth, service: str | None, over: str | None, expected: Judgement) -> None:
    assert judge(truth, service, over) is expected


def test_truths_print_as_people_say_them() -> None:
    assert [str(truth) for truth in (HTTP, HTTPS, STARTTLS, IMPOSTOR)] == ["http", "http over tls", "smtp", "unknown"]


def test_registry_finds_by_either_endpoint_and_by_range() -> None:
    registry = Registry()
    registry.add("web", HTTP, "tcp", "192.0.2.1", 8080)
    registry.add("data", Truth(service="ftp", over=CLEAR), "tcp", "192.0.2.1", 3000, 3009)
    stranger = ("198.51.100.1", 40000)
    assert registry.find("tcp", ("192.0.2.1", 8080), stranger).name == "web"
    assert registry.find("tcp", stranger, ("192.0.2.1", 8080)).name == "web"
    assert registry.find("tcp", ("192.0.2.1", 3009), stranger).name == "data"
    assert registry.find("tcp", ("192.0.2.1", 3010), stranger) is None
    assert registry.find("udp", ("192.0.2.1", 8080), stranger) is None
    assert registry.find("tcp", ("192.0.2.2", 8080), stranger) is None
