import random

import pytest

from flowsonar.model import Transport
from flowsonar.signatures.conditions import Bytes, CompiledCondition, Reply, is_echo
from flowsonar.signatures.language import Condition, FieldCheck, FieldOrder, Rest

NOISE = random.Random(3).randbytes(40)


def reply(data: bytes, **changes: object) -> Reply:
    values: dict[str, object] = {
        "probe": "x/y",
        "step": 0,
        "transport": Transport.UDP,
        "sent": {"id": b"\x12\x34", "prober.address": b"\x0a\0\0\1"},
    }
    return Reply(data=data, **{**values, **changes})  # type: ignore[arg-type]


def holds(condition: Condition, given: Reply) -> bool:
    compiled = CompiledCondition(condition)
    echo = is_echo(given.data, given.message)
    return compiled.rest(Bytes(given.data, given, echo)) and compiled.groups(given.data) is not None


def field(**kinds: object) -> Condition:
    return Condition(fields=(FieldCheck(**kinds),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("check", "yes", "no"),
    [
        ({"at": 1, "equals": b"bc"}, [b"abc", b"abcd"], [b"bc", b"a", b"", b"ab"]),
        ({"at": -1, "equals": b"\0"}, [b"x\0", b"\0"], [b"\0x", b""]),
        ({"at": 0, "echo": "id"}, [b"\x12\x34", b"\x12\x34\0"], [b"\x12", b"\x34\x12", b""]),
        ({"at": 3, "echo": "prober.address"}, [b"123\x0a\0\0\1"], [b"123\x0a\0\0\2", b"123"]),
        ({"at": 0, "echo": "never-sent"}, [], [b"", b"x"]),
        ({"at": 0, "mask": 0x8F, "any": (5, 7)}, [b"\x25", b"\x77\0"], [b"\x85", b"\x02", b""]),
        ({"at": 0, "size": 2, "any": (0x102,)}, [b"\1\2"], [b"\2\1", b"\1"]),
        ({"at": 0, "size": 2, "any": (0x102,), "order": FieldOrder.LITTLE}, [b"\2\1"], [b"\1\2"]),
        ({"at": 0, "between": (3, 5)}, [b"\3", b"\5"], [b"\2", b"\6", b""]),
        ({"at": 0, "length_size": 2}, [b"\0\0", b"\0\3abc"], [b"\0\3ab", b"\0\3abcd", b"\0", b""]),
        ({"at": 0, "length_size": 1, "length_add": 1}, [b"\1", b"\4abc"], [b"\3abc"]),
        ({"at": 0, "length_size": 1, "length_rest": Rest.CUT}, [b"\3ab", b"\2ab"], [b"\1ab"]),
        ({"at": 0, "length_size": 1, "length_rest": Rest.MORE}, [b"\1ab", b"\2ab"], [b"\3ab"]),
        ({"at": 1, "length_size": 2, "length_order": FieldOrder.LITTLE}, [b"x\2\0ab"], [b"x\0\2ab"]),
        ({"at": 2, "size": 4, "capture": "t"}, [b"abcdef"], [b"abcde"]),
    ],
)
def test_fields(check: dict[str, object], yes: list[bytes], no: list[bytes]) -> None:
    assert [holds(field(**check), reply(data)) for data in yes] == [True] * len(yes)
    assert [holds(field(**check), reply(data)) for data in no] == [False] * len(no)


@pytest.mark.parametrize(
    ("condition", "given", "result"),
    [
        (Condition(length=(3, 4)), reply(b"abc"), True),
        (Condition(length=(3, 4)), reply(b"abcde"), False),
        (Condition(pattern="^a", length=(1, 1)), reply(b"b"), False),
        (Condition(contains=("id",)), reply(b"..\x12\x34"), True),
        (Condition(contains=("id",)), reply(b"..\x12"), False),
        (Condition(contains=("nothing",)), reply(b"x"), False),
        (Condition(random=True), reply(NOISE), True),
        (Condition(random=True), reply(b"plain text, and not random at all"), False),
        (Condition(differs_from=0), reply(b"abcd", previous=(b"abce",)), True),
        (Condition(differs_from=0), reply(b"abcd1", previous=(b"abcd2",)), False),
        (Condition(differs_from=1), reply(b"abcd", previous=(b"x",)), False),
        (Condition(not_echo=True), reply(b"same bytes", message=b"same bytes"), False),
        (Condition(not_echo=True), reply(b"other", message=b"same bytes"), True),
        (Condition(echo=True), reply(b"same", message=b"same"), True),
        (Condition(echo=True), reply(b"sam", message=b"same"), False),
        (Condition(closed=True), reply(b"x", closed=True), True),
        (Condition(closed=True), reply(b"x"), False),
        (Condition(closed=False), reply(b"x", closed=True), False),
        (Condition(silence=True), reply(b""), True),
        (Condition(silence=True), reply(b"", closed=True), False),
        (Condition(silence=True), reply(b"x"), False),
    ],
)
def test_conditions(condition: Condition, given: Reply, result: bool) -> None:
    assert holds(condition, given) is result


@pytest.mark.parametrize(
    ("data", "message", "result"),
    [
        (b"GET / HTTP", b"GET / HTTP", True),
        (b"GET /", b"GET / HTTP", True),
        (b"GET / HTTP and more", b"GET / HTTP", True),
        (b"GE", b"GET / HTTP", False),
        (b"\r\n220 hi", b"\r\n", False),
        (b"\r\n", b"\r\n", True),
        (b"", b"x", False),
        (b"x", b"", False),
    ],
)
def test_echo(data: bytes, message: bytes, result: bool) -> None:
    assert is_echo(data, message) is result


def test_groups_and_captures_are_text() -> None:
    compiled = CompiledCondition(
        Condition(pattern=r"^(?P<one>.)(?P<two>x)?", fields=(FieldCheck(at=-2, size=2, capture="tail"),))
    )
    assert compiled.groups(b"\xe9bc") == {"one": "é"}
    assert compiled.captures(b"a\x80\xff") == {"tail": "\x80\xff"}
    assert CompiledCondition(Condition()).groups(b"anything") == {}


def test_exceptions() -> None:
    compiled = CompiledCondition(Condition(pattern="^a", unless="b"))
    assert compiled.excepted(b"ab")
    assert not compiled.excepted(b"ac")
    assert not CompiledCondition(Condition(pattern="^a")).excepted(b"ab")
