import random

import pytest

from flowsonar.signatures.templates import ConnectionFacts, TemplateError, parse_bytes, parse_template, render

FACTS = ConnectionFacts(
    target_address=bytes([192, 0, 2, 1]), target_port=8021, prober_address=bytes([10, 0, 0, 7]), prober_port=40000
)
FACTS6 = ConnectionFacts(
    target_address=bytes(15) + b"\x01", target_port=53, prober_address=bytes(15) + b"\x02", prober_port=9
)


def sent(text: str, facts: ConnectionFacts = FACTS, seed: int = 1, **known: bytes) -> bytes:
    return render(parse_template(text), facts, known, random.Random(seed)).data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"FEAT\r\n", b"FEAT\r\n"),
        (r"\x00\xff\0\t\\\{\}", b"\0\xff\0\t\\{}"),
        ("{hex:80 46 0103}", b"\x80\x46\x01\x03"),
        ("café", "café".encode()),
        ("{constant.magic}!", b"MAG!"),
        ("", b""),
    ],
)
def test_constant_bytes(text: str, expected: bytes) -> None:
    assert parse_bytes(text, {"magic": b"MAG"}) == expected


@pytest.mark.parametrize(
    ("text", "part_of_error"),
    [
        (r"\q", "unknown escape"),
        ("\\", "stray"),
        ("{", "stray"),
        ("}", "stray"),
        ("{hex:123}", "pairs"),
        ("{constant.none}", "no such constant"),
        ("{Name:4}", "no field"),
        ("{name:4 form}", "no field"),
        ("{random}", "needs a size"),
        ("{id:1 from 0x00..0x100}", "range"),
        ("{id:2 from 9..3}", "range"),
        ("{id:2 from 0x10..0x20 as hex}", "range"),
        ("{prober.nothing}", "the connection has"),
        ("{prober.address:4}", "no size"),
        ("{name:4 as packed}", "packed"),
        ("{agent as packed}", "packed"),
        ("{length:9}", "1 to 8"),
        ("{length:2 until end}", "mark"),
        ("{mark:end}{length:2 until end}", "mark"),
        ("{name:4 add 3}", "length fields"),
        ("{big:99999}", "at most"),
        ("{a:65000}{b:600}", "at most"),
    ],
)
def test_errors_say_what_to_write(text: str, part_of_error: str) -> None:
    with pytest.raises(TemplateError, match=part_of_error):
        parse_template(text)


def test_fields_are_for_messages() -> None:
    with pytest.raises(TemplateError, match="messages only"):
        parse_bytes("{id:2}")


def test_a_random_field_is_made_once_and_kept() -> None:
    message = render(parse_template("{id:2 from 0x5200..0x5fff}{id}{random:4}"), FACTS, {}, random.Random(7))
    number = int.from_bytes(message.sent["id"], "big")
    assert 0x5200 <= number <= 0x5FFF
    assert message.data[:4] == message.sent["id"] * 2
    assert len(message.data) == 8
    assert "random" not in message.sent


def test_known_fields_come_from_earlier_steps() -> None:
    assert sent("{token}-{id:2}", token=b"abc", id=b"xy") == b"abc-xy"
    assert sent("{never}") == b""


@pytest.mark.parametrize(
    ("text", "facts", "expected"),
    [
        ("{prober.address}:{prober.port}", FACTS, b"10.0.0.7:40000"),
        ("{target.host}", FACTS, b"192.0.2.1"),
        ("{target.host} {prober.host} {server_name}", FACTS6, b"[::1] [::2] ::1"),
        ("{prober.address as packed}{prober.port as packed}", FACTS, bytes([10, 0, 0, 7]) + b"\x9c\x40"),
        ("{target.address} {target.port} {agent}", FACTS, b"192.0.2.1 8021 flowsonar"),
    ],
)
def test_connection_fields(text: str, facts: ConnectionFacts, expected: bytes) -> None:
    assert sent(text, facts) == expected


def test_a_name_from_the_wire_cannot_smuggle_lines() -> None:
    facts = ConnectionFacts(
        target_address=bytes(4), target_port=1, prober_address=bytes(4), prober_port=2, target_host="a\r\nEvil: x\0.b"
    )
    assert sent("Host: {target.host}\\r\\n", facts) == b"Host: aEvil:x.b\r\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{length:2}abc", b"\0\3abc"),
        ("{length:4 little add 4}abc", b"\7\0\0\0abc"),
        ("{length:4 as hex add 4}0123", b"00080123"),
        ("{length as digits}\\n12345", b"6\n12345"),
        ("{length:1 until m}ab{mark:m}cdef", b"\2abcdef"),
        ("{length:1}{length:1}ab", b"\3\2ab"),
        ("{length:1 add -5}", b"\0"),
    ],
)
def test_length_fields(text: str, expected: bytes) -> None:
    assert sent(text) == expected


def test_text_forms() -> None:
    data = sent("{a:8 as hex} {b:5 as digits} {c:4 as letters}")
    one, two, three = data.split(b" ")
    assert set(one) <= set(b"0123456789abcdef")
    assert len(one) == 8
    assert two.isdigit()
    assert len(two) == 5
    assert two[:1] != b"0"
    assert three.isalpha()
    assert three.islower()
    assert len(three) == 4


def test_tries_differ_and_the_source_decides() -> None:
    assert sent("{x:16}", seed=1) == sent("{x:16}", seed=1) != sent("{x:16}", seed=2)


def test_reply_tests_always_know_the_addresses() -> None:
    message = render(parse_template("x"), FACTS, {})
    assert message.sent["prober.address"] == bytes([10, 0, 0, 7])
    assert message.sent["target.port"] == (8021).to_bytes(2, "big")
