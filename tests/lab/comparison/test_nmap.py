from pathlib import Path

from lab.comparison.nmap import command, parse
from lab.comparison.said import Names

NAMES = Names({"http": (), "dns": ("domain",)})


def document(inner: str) -> str:
    return f'<nmaprun><host><ports><port portid="1">{inner}</port></ports></host></nmaprun>'


def test_a_service_with_product_and_tunnel() -> None:
    said = parse(document('<service name="http" product="nginx" version="1.2" tunnel="ssl" method="probed"/>'), NAMES)
    assert (said.service, said.over, said.product, said.version) == ("http", "tls", "nginx", "1.2")
    assert str(said) == "ssl/http nginx 1.2"


def test_tls_that_nobody_could_look_into() -> None:
    said = parse(document('<service name="unknown" tunnel="ssl" method="probed"/>'), NAMES)
    assert (said.service, said.over) == ("tls", None)


def test_a_name_by_port_is_no_answer() -> None:
    assert parse(document('<service name="domain" method="table"/>'), NAMES).service is None


def test_no_document() -> None:
    assert parse("", NAMES).service is None
    assert parse("<nmaprun/>", NAMES).service is None


def test_commands(tmp_path: Path) -> None:
    assert "-sU" in command("udp", "192.0.2.1", 53, tmp_path / "x")
    assert "-6" in command("tcp", "2001:db8::1", 53, tmp_path / "x")
