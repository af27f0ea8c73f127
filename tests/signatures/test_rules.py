import re
from pathlib import Path

import pytest

from flowsonar.model import Confidence, Transport
from flowsonar.signatures.engines import available
from flowsonar.signatures.language import Condition, PayloadPattern, Product, ProductPattern, ReplyPattern
from flowsonar.signatures.matcher import Reply
from flowsonar.signatures.rules import Database, Rule


def payload(name: str, **condition: object) -> PayloadPattern:
    return PayloadPattern(
        service="s",
        name=name,
        condition=Condition(**condition),  # type: ignore[arg-type]
        confidence=Confidence.LIKELY,
        transport=Transport.TCP,
        detail="saw {what}" if "what" in str(condition) else "",
    )


@pytest.mark.parametrize("engine", available())
def test_expressions_are_shared_and_exceptions_hold(engine: str, tmp_path: Path) -> None:
    patterns = [
        payload("all", pattern="^a"),
        payload("same", pattern="^a", length=(2, 2)),
        payload("except", pattern="^a", unless="b"),
        payload("length", length=(3, 3)),
        payload("range", length=(4, 9), unless="b"),
        payload("group", pattern="^(?P<what>a+)"),
    ]
    database = Database([Rule(pattern, index) for index, pattern in enumerate(patterns)], engine, tmp_path)

    def names(data: bytes) -> set[str]:
        return {rule.id.partition("/")[2] for rule in database.found(data)}

    assert names(b"a") == {"all", "except", "group"}
    assert names(b"ab") == {"all", "same", "group"}
    assert names(b"xyz") == {"length"}
    assert names(b"xyzz") == {"range"}
    assert names(b"xyzb") == set()
    assert names(b"") == set()


def test_order_is_soft_then_specificity_then_confidence() -> None:
    def order(soft: bool, specificity: int, confidence: Confidence) -> tuple[bool, int, int, int]:
        return Rule(
            PayloadPattern(
                service="s",
                name="n",
                condition=Condition(pattern="^a"),
                confidence=confidence,
                transport=Transport.TCP,
                soft=soft,
                specificity=specificity,
            ),
            0,
        ).order

    ranked = [
        order(False, 100, Confidence.LIKELY),
        order(False, 0, Confidence.CONFIRMED),
        order(False, 25, Confidence.GUESS),
        order(False, 0, Confidence.LIKELY),
        order(True, 99, Confidence.CONFIRMED),
    ]
    assert ranked == sorted(ranked)


def test_groups_fill_the_match_and_are_remembered() -> None:
    rule = Rule(payload("group", pattern="^(?P<what>a+)"), 0)
    first = rule.matched(b"aaa")
    assert first.detail == "saw aaa"
    assert rule.matched(b"aaab") is first
    for length in range(1, 600):
        assert rule.matched(b"a" * min(length, 128)).detail == "saw " + "a" * min(length, 128)


def test_product_patterns_only_name() -> None:
    rule = Rule(ProductPattern(service="s", condition=Condition(pattern="x"), product=Product(product="p")), 3)
    assert rule.names
    assert rule.matched(b"x").product == "p"


def test_what_was_said_before_is_known_and_still_depends_on_the_question() -> None:
    mirrored = ReplyPattern(
        service="a", name="mirrored", confidence=Confidence.CONFIRMED,
        condition=Condition(pattern="^ok", contains=("id",)),
    )  # fmt: skip
    plain = ReplyPattern(
        service="b", name="plain", confidence=Confidence.LIKELY, condition=Condition(pattern="^ok", length=(2, 9))
    )
    database = Database([Rule(mirrored, 1), Rule(plain, 2)], "re2", None)

    def held(sent: dict[str, bytes], data: bytes = b"ok 7", *, echo: bool = False) -> list[str]:
        reply = Reply(probe="x/y", step=0, data=data, transport=Transport.TCP, sent=sent)
        return [rule.id for rule in database.found(data, reply, echo=echo)]

    for _ in range(2):
        assert held({"id": b"7"}) == ["b/plain", "a/mirrored"]
        assert held({"id": b"8"}) == ["b/plain"]
        assert held({"id": b"7"}, echo=True) == []
        assert held({}, b"no") == []


@pytest.mark.parametrize("engine", available())
@pytest.mark.parametrize(("sent", "settled"), [((), True), (("prober.port",), False)])
def test_bytes_settle_what_no_condition_about_the_question_touches(
    engine: str, tmp_path: Path, sent: tuple[str, ...], settled: bool
) -> None:
    condition = Condition(pattern="^a", contains=sent)
    pattern = ReplyPattern(service="s", name="n", condition=condition, confidence=Confidence.LIKELY)
    database = Database([Rule(pattern, 1)], engine, tmp_path)
    given = Reply(probe="s/ask", step=0, data=b"ab", transport=Transport.TCP, sent={})
    assert database.is_settled(b"ab", given) is settled
    assert database.is_settled(b"b", given)


@pytest.mark.parametrize("engine", available())
@pytest.mark.parametrize(
    ("pattern", "data", "holds"),
    [
        ("^a+", b"aaaaaaaab", True),
        ("^a+$", b"aaaaaaaab", False),
        ("^a+$", b"aaaaaaaaa", True),
        ("aaa\\b", b"aaaaaaaab", False),
        ("aaa\\b", b"aaaaaaaa b", True),
        ("b", b"aaaaaaaab", False),
        ("(?:^aa|a$)", b"aaaaaaaab", True),
    ],
)
def test_expressions_look_at_the_beginning_and_are_not_taken_in_by_its_end(
    engine: str, tmp_path: Path, pattern: str, data: bytes, holds: bool
) -> None:
    database = Database([Rule(payload("one", pattern=pattern), 1)], engine, tmp_path)
    assert bool(database.found(data, begin=data[:8])) is holds
    assert bool(database.found(data, begin=data[:8])) is holds
    assert bool(database.found(data, begin=data)) is bool(re.search(pattern.encode(), data))


def test_what_is_asked_beside_expressions_is_asked_of_all_bytes() -> None:
    rules = [
        Rule(payload("length", pattern="^a", length=(9, 9)), 1),
        Rule(payload("other", pattern="^a", length=(8, 8)), 2),
    ]
    found = Database(rules, "re2", None).found(b"aaaaaaaab", begin=b"aaaaaaaa")
    assert [rule.id for rule in found] == ["s/length"]


def test_what_shares_a_place_in_memory_is_not_mixed_up() -> None:
    database = Database([Rule(payload("a", pattern="^a"), 1), Rule(payload("b", pattern="^b"), 2)], "re2", None)
    rest = b"x" * 100
    for _ in range(2):
        for begin in (b"a", b"b", b"c"):
            assert [rule.id for rule in database.found(begin + rest)] == [f"s/{begin.decode()}"] * (begin != b"c")
