"""Values as Wireshark and the specification's baseline (seed 0) give them, and its properties."""

import pytest

from flowsonar.protocols.community import community_id


@pytest.mark.parametrize(
    ("protocol", "source", "source_port", "destination", "destination_port", "expected"),
    [
        (6, "128.232.110.120", 34855, "66.35.250.204", 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (17, "192.168.1.52", 54585, "8.8.8.8", 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        (1, "192.168.0.89", 0, "192.168.0.1", 8, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        (58, "fe80::200:86ff:fe05:80da", 135, "fe80::260:97ff:fe07:69ea", 136, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="),
        (132, "10.28.6.43", 16384, "10.28.6.44", 2944, "1:MXX0xGhlFTg9LIa95QSVNd/KYD0="),
    ],
)
def test_published_values(
    protocol: int, source: str, source_port: int, destination: str, destination_port: int, expected: str
) -> None:
    assert community_id(protocol, source, source_port, destination, destination_port) == expected


def test_both_directions_have_one_name() -> None:
    there = community_id(6, "10.0.0.1", 1000, "10.0.0.2", 80)
    assert there == community_id(6, "10.0.0.2", 80, "10.0.0.1", 1000)
    assert there != community_id(6, "10.0.0.1", 80, "10.0.0.2", 1000)
    assert there != community_id(6, "10.0.0.1", 1000, "10.0.0.2", 80, seed=1)


def test_echo_is_named_by_its_type_not_by_its_identifier() -> None:
    request = community_id(1, "10.0.0.1", 4711, "10.0.0.2", 8)
    assert request == community_id(1, "10.0.0.1", 12, "10.0.0.2", 8)
    assert request == community_id(1, "10.0.0.2", 8, "10.0.0.1", 4711)


def test_what_has_no_answer_has_a_direction() -> None:
    unreachable = community_id(1, "10.0.0.1", 3, "10.0.0.2", 1)
    assert unreachable != community_id(1, "10.0.0.2", 3, "10.0.0.1", 1)


def test_no_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="address"):
        community_id(6, "example", 1, "10.0.0.1", 2)
