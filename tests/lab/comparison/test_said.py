import pytest
from lab.comparison.said import Names, Said, judged, product_right, version_right
from lab.services.base import Service
from lab.truth import TLS, Judgement, Kind, Truth

NAMES = Names({"dns": ("domain",), "http": (), "postgresql": ("postgres",)}, {"elasticsearch": "http"})


def service(truth: Truth, product: str | None = None, version: str | None = None) -> Service:
    return Service(name="x", transport="tcp", port=1, truth=truth, clients=(), product=product, version=version)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("domain", ("dns", None)),
        ("Postgres", ("postgresql", None)),
        ("HTTP", ("http", None)),
        ("https", ("http", "tls")),
        ("IMAPS", ("imap", "tls")),
        ("unknown", (None, None)),
        ("Somewhat", ("somewhat", None)),
    ],
)
def test_other_tools_names(name: str, expected: tuple[str | None, str | None]) -> None:
    assert NAMES.ours(name) == expected


@pytest.mark.parametrize(
    ("truth", "said", "expected"),
    [
        (Truth(service="http"), Said(service="http"), Judgement.RIGHT),
        (Truth(service="http", over=TLS), Said(service="http", over="tls"), Judgement.RIGHT),
        (Truth(service="http", over=TLS), Said(service="tls"), Judgement.OUTSIDE),
        (Truth(service="http", over=TLS), Said(service="http"), Judgement.OUTSIDE),
        (Truth(service="elasticsearch"), Said(service="http"), Judgement.OUTSIDE),
        (Truth(service="redis"), Said(service="http"), Judgement.WRONG),
        (Truth(service="http"), Said(service="http", over="tls"), Judgement.WRONG),
        (Truth(service="http"), Said(), Judgement.UNKNOWN),
        (Truth(service=None, kind=Kind.BANNER), Said(service="ftp", confidence="guess"), Judgement.RIGHT),
        (Truth(service=None, kind=Kind.BANNER), Said(service="ftp", confidence="likely"), Judgement.WRONG),
    ],
)
def test_judgement(truth: Truth, said: Said, expected: Judgement) -> None:
    assert judged(service(truth), said, NAMES.parents) is expected


@pytest.mark.parametrize(
    ("true", "said", "expected"),
    [
        ("9.2p1", "9.2p1 Debian 2", True),
        ("1.22.1", "1.22.1", True),
        ("1.22.1", "1.22", True),
        ("1.22.1", "1.21.9", False),
        ("1.22.1", None, False),
        (None, "1.22", False),
    ],
)
def test_versions(true: str | None, said: str | None, expected: bool) -> None:
    assert version_right(service(Truth(service="x"), version=true), Said(version=said)) is expected


def test_products() -> None:
    one = service(Truth(service="x"), product="nginx")
    assert product_right(one, Said(product="nginx"))
    assert product_right(one, Said(product="Nginx web server"))
    assert not product_right(one, Said(product="Apache"))
    assert not product_right(one, Said())
