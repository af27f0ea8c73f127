"""The interfaces of this machine."""

import pytest

from flowsonar.capture.interfaces import describe_missing, hardware_type, interfaces, is_loopback, is_up


def test_loopback_is_there() -> None:
    assert "lo" in interfaces()
    assert is_loopback("lo")
    assert hardware_type("lo") == 772


@pytest.mark.parametrize("name", ["", "eth99", "a" * 15, "a" * 16, "a" * 5000, "lo\0x", "../lo", "lo ", "\udcff"])
def test_no_such_interface(name: str) -> None:
    assert hardware_type(name) is None
    assert not is_up(name)
    assert not is_loopback(name)


def test_what_is_said_of_a_missing_one() -> None:
    text = describe_missing("eth99")
    assert text.startswith("no interface 'eth99': there ")
    assert "lo" in text
