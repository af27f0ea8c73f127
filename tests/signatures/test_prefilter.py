import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.signatures.conditions import Bytes, CompiledCondition
from flowsonar.signatures.engines import HyperscanEngine, Re2Engine, available, compile_regex
from flowsonar.signatures.language import Condition, FieldCheck, FieldOrder
from flowsonar.signatures.prefilter import expression_of

LITTLE = FieldOrder.LITTLE
ENGINES = {"hyperscan": HyperscanEngine, "re2": Re2Engine}


@pytest.mark.parametrize(
    ("fields", "expression"),
    [
        ([FieldCheck(at=0, equals=b"\xfe\0")], r"(?s)^\xfe\x00"),
        ([FieldCheck(at=2, equals=b"a"), FieldCheck(at=9, equals=b"b")], r"(?s)^..\x61.{6}\x62"),
        ([FieldCheck(at=0, any=(1, 2, 5))], r"(?s)^[\x01-\x02\x05]"),
        ([FieldCheck(at=0, any=(0x80,), mask=0xC0)], r"(?s)^[\x80-\xbf]"),
        ([FieldCheck(at=0, any=(0x0102, 0x0103), size=2)], r"(?s)^\x01[\x02-\x03]"),
        ([FieldCheck(at=0, any=(0x0102,), size=2, order=LITTLE)], r"(?s)^\x02\x01"),
        ([FieldCheck(at=0, between=(0x100, 0x2FF), size=2)], r"(?s)^[\x01-\x02]"),
        ([FieldCheck(at=0, between=(3, 5))], r"(?s)^[\x03-\x05]"),
        ([FieldCheck(at=0, equals=b"a"), FieldCheck(at=0, equals=b"b")], None),
        ([FieldCheck(at=-1, equals=b"a")], None),
        ([FieldCheck(at=200, equals=b"a")], None),
        ([FieldCheck(at=0, length_size=2)], None),
        ([FieldCheck(at=0, echo="id")], None),
        ([], None),
    ],
)
def test_expressions(fields: list[FieldCheck], expression: str | None) -> None:
    assert expression_of(fields) == expression


def checks() -> st.SearchStrategy[FieldCheck]:
    number = st.integers(0, 0xFFFF)
    kinds = st.one_of(
        st.builds(dict, equals=st.binary(min_size=1, max_size=3)),
        st.builds(dict, any=st.lists(number, min_size=1, max_size=3).map(tuple), mask=st.none() | number),
        st.builds(
            dict, between=st.tuples(number, number).map(lambda pair: tuple(sorted(pair))), mask=st.none() | number
        ),
    )
    return st.builds(
        lambda at, size, order, kind: FieldCheck(at=at, size=size, order=order, **kind),
        st.integers(-3, 6),
        st.integers(1, 2),
        st.sampled_from(FieldOrder),
        kinds,
    )


@given(st.lists(checks(), min_size=1, max_size=3), st.binary(max_size=10))
def test_what_holds_is_never_left_out(fields: list[FieldCheck], data: bytes) -> None:
    expression = expression_of(fields)
    if expression is None:
        return
    holds = CompiledCondition(Condition(fields=tuple(fields))).rest(Bytes(data))
    found = compile_regex(expression).search(data) is not None
    assert found or not holds


@pytest.mark.parametrize("engine", available())
def test_both_engines_take_them(engine: str) -> None:
    sources = [r"(?s)^..\x61.{6}\x62", r"(?s)^[\x00-\x7f]", r"(?s)^[\x80-\xbf]"]
    made = ENGINES[engine](sources)
    assert sorted(made.candidates(b"\x80\x80a123456b")) == [0, 2]
