"""Reading nmap's answer."""

import pytest
from lab.nmap_compare import Scan, parse, table

_XML = '<nmaprun><host><ports><port portid="1"><service {}/></port></ports></host></nmaprun>'


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (_XML.format('name="http" method="probed" tunnel="ssl" product="nginx"'), "http over ssl nginx"),
        (_XML.format('name="bbs" method="table"'), "bbs (by port)"),
        ("<nmaprun/>", "-"),
        ("<nmaprun", "-"),
        ("", "-"),
    ],
)
def test_parse(document: str, expected: str) -> None:
    assert parse(document) == expected


def test_table_has_both_times() -> None:
    scans = [Scan(service="redis", said="redis Redis", seconds=6.5), Scan(service="slow", said="-", seconds=None)]
    lines = table(scans, {"redis": ("redis", 3.0)})
    assert lines[1].split() == ["redis", "redis", "Redis", "6.50", "redis", "0.0030"]
    assert lines[2].split() == ["slow", "-", "-", "-", "-"]
