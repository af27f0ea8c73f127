from pathlib import Path

import pytest

from flowsonar.model import Confidence, Transport
from flowsonar.signatures.engines import available
from flowsonar.signatures.language import Condition, PayloadPattern, Product, ProductPattern, ReplyPattern
from flowsonar.signatures.matcher import Reply
from flowsonar.signatures.rules import Database, Rule, filled


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


PRODUCT = Product(product="Thing {kind}", version="{version}", cpe="a:maker:thing")


@pytest.mark.parametrize(
    ("product", "groups", "result"),
    [
        (
            PRODUCT,
            {"kind": "X", "version": "1.2"},
            ("Thing X", "1.2", "cpe:2.3:a:maker:thing:1.2:*:*:*:*:*:*:*"),
        ),
        (PRODUCT, {"kind": "X"}, ("Thing X", None, "cpe:2.3:a:maker:thing:*:*:*:*:*:*:*:*")),
        (PRODUCT, {"version": "1"}, (None, "1", None)),
        (PRODUCT, {"kind": "X", "version": "1:*?\\"}, ("Thing X", "1:*?\\", None)),
        (PRODUCT, {"kind": "\x1b[31m\0\x9b", "version": ""}, ("Thing [31m", None, None)),
        (PRODUCT, {"kind": "x" * 500}, ("Thing " + "x" * 128, None, None)),
        (Product(), {}, (None, None, None)),
        (Product(product="p", cpe="cpe:2.3:o:a:b:{version}"), {"version": "3"}, ("p", None, "cpe:2.3:o:a:b:3")),
    ],
)
def test_filled(product: Product, groups: dict[str, str], result: tuple[str | None, str | None, str | None]) -> None:
    name, version, cpe = filled(product, groups)
    assert (name, version) == result[:2]
    if result[2] is not None:
        assert cpe == result[2]


def test_a_cpe_quotes_what_would_break_it() -> None:
    assert filled(PRODUCT, {"kind": "x", "version": "1:*~B"})[2] == r"cpe:2.3:a:maker:thing:1\:\*\~b:*:*:*:*:*:*:*"


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
