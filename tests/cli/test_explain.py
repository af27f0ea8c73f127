from pathlib import Path

from tests.cli.program import flowsonar


def test_nothing_is_known_of_a_stranger(tmp_path: Path) -> None:
    for address in ("192.0.2.1", "192.0.2.1:80", "192.0.2.1:53/udp", "[2001:db8::1]:443", "2001:db8::1"):
        result = flowsonar("explain", address, home=tmp_path)
        assert result.returncode == 1
        assert b"nothing is stored" in result.stderr


def test_a_wrong_transport(tmp_path: Path) -> None:
    result = flowsonar("explain", "192.0.2.1:80/sctp", home=tmp_path)
    assert result.returncode == 2
    assert b"tcp or udp" in result.stderr
