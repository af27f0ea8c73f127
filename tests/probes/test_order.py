"""The general order by tables: coverage, rarity, what was tried, what was found nearby."""

import pytest

from flowsonar.model import Layer, Transport
from flowsonar.probes.order import Order, Setting
from flowsonar.signatures import load_signatures
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import Example, Reaction, Speaker
from tests.probes.world import SIGNATURES, TCP, UDP, probe, reply, signature

ORDER = Order(SIGNATURES)


def names(probes) -> list[str]:
    return [one.id for one in probes]


def test_what_is_less_rare_comes_first_where_nothing_else_is_known():
    ranked = names(ORDER.general(Setting(TCP), ()))
    assert ranked[0] == "http/get"
    assert ranked.index("redis/ping") < ranked.index("dns/root-tcp") < ranked.index("echo/random")
    assert "loud/search" not in names(ORDER.general(Setting(UDP), ())), "rarity 9 is asked only where something points"


def test_servers_that_greet_are_not_asked_unless_something_points_to_them():
    assert not {"ftp/features", "smtp/ehlo"} & set(names(ORDER.general(Setting(TCP), ())))
    assert names(ORDER.of("ftp", Setting(TCP), strong=True)) == ["ftp/features"]
    assert names(ORDER.of("ftp", Setting(TCP), strong=False)) == []


@pytest.mark.parametrize(
    ("setting", "service", "expected"),
    [
        (Setting(TCP, Layer.TLS), "http", ["http/get"]),
        (Setting(TCP, Layer.TLS, http2=True), "http", ["http/http2"]),
        (Setting(TCP, Layer.TLS), "redis", []),
        (Setting(UDP), "skype", ["skype/udp"]),
        (Setting(UDP, family=6), "skype", []),
        (Setting(UDP, amplifying=False), "loud", []),
        (Setting(TCP), "tls", []),
    ],
)
def test_what_fits(setting, service, expected):
    assert names(ORDER.of(service, setting, strong=True)) == expected


def test_what_was_met_speaks_for_services_that_do_so_and_against_those_that_do_not():
    closes, silent = (Reaction.CLOSES,), (Reaction.SILENT,)
    order = Order(
        SignatureSet(
            [
                signature("common", probes=(probe("common", "own", "abc", rarity=5),)),
                signature("quiet", probes=(probe("quiet", "own", "d", rarity=7),), foreign=(("http/get", silent),)),
                signature("abrupt", probes=(probe("abrupt", "own", "e", rarity=7),), foreign=(("http/get", closes),)),
                signature("either", probes=(probe("either", "own", "f", rarity=8),),
                          foreign=(("http/get", (*closes, *silent)),)),
            ]
        )
    )  # fmt: skip
    assert order.telling == {"http/get"}

    def first(*met):
        return names(order.general(Setting(TCP, met=met), ()))

    assert first() == ["common/own", "quiet/own", "abrupt/own", "either/own"]
    assert first(("http/get", Reaction.CLOSES)) == ["abrupt/own", "common/own", "either/own", "quiet/own"]
    assert first(("http/get", Reaction.SILENT)) == ["quiet/own", "common/own", "either/own", "abrupt/own"]


def test_of_services_that_fit_those_go_first_of_which_most_reactions_are_declared():
    closes, silent = (Reaction.CLOSES,), (Reaction.SILENT,)
    get, hello = ("http/get", silent), ("tls/hello", silent)
    order = Order(
        SignatureSet(
            [
                signature("common", probes=(probe("common", "own", "abc", rarity=5),), foreign=(get, hello)),
                signature("seen", probes=(probe("seen", "own", "d", rarity=7),),
                          foreign=(get, hello, ("common/own", closes))),
            ]
        )
    )  # fmt: skip

    def first(*met):
        return names(order.general(Setting(TCP, met=met), ()))[0]

    met = (("http/get", Reaction.SILENT), ("tls/hello", Reaction.SILENT))
    assert first(*met) == "common/own"
    assert first(*met, ("common/own", Reaction.CLOSES)) == "seen/own"
    assert first(*met, ("common/own", Reaction.SILENT)) == "common/own"


@pytest.fixture
def polyglot() -> Order:
    """`a` counts most; `one` is answered by three others, each of which counts little."""
    foreign = [
        signature(name, probes=(probe(name, "own", name, rarity=5),),
                  examples=(Example(data=b"x", to="one/ask", transport=TCP),))
        for name in ("x", "y", "z")
    ]  # fmt: skip
    return Order(
        SignatureSet(
            [
                signature("a", probes=(probe("a", "own", "a", rarity=3),)),
                signature("one", probes=(probe("one", "ask", "1", rarity=5),)),
                *foreign,
                signature("w", probes=(probe("w", "own", "w", rarity=6),),
                          replies=(reply("w", "r", "^w", to=("one/ask",)),)),
            ]
        )
    )  # fmt: skip


def test_a_question_that_many_services_answer_comes_before_one_that_a_more_frequent_service_answers(polyglot):
    assert polyglot.covers("one/ask") == ["one", "x", "y", "z", "w"]
    assert names(polyglot.general(Setting(TCP), ()))[:2] == ["one/ask", "a/own"]


def test_what_an_earlier_question_would_have_shown_comes_last(polyglot):
    ranked = names(polyglot.general(Setting(TCP), ("one/ask",)))
    assert ranked[0] == "a/own"
    near = polyglot.general(Setting(TCP), ("one/ask",), ("x",))
    assert names(near)[0] == "a/own", "nearby or not, x has had its chance"
    assert names(polyglot.general(Setting(TCP), (), ("x", "y")))[0] == "one/ask"
    assert names(polyglot.general(Setting(TCP), ("a/own",), ("y",)))[0] == "one/ask"


def test_who_ignored_a_line_is_asked_lines_late():
    ranked = names(ORDER.general(Setting(TCP, line_ignored=True), ("http/get",)))
    assert ranked.index("dns/root-tcp") < ranked.index("redis/ping")


def test_the_built_in_signatures_have_an_order_of_a_useful_length():
    order = Order(load_signatures())
    for transport in (Transport.TCP, Transport.UDP):
        ranked = order.general(Setting(transport), ())
        assert len(ranked) >= 4
        assert all(one.transport is transport for one in ranked)
    assert names(order.general(Setting(TCP), ()))[0] == "http/get"


def test_who_greets_late_may_be_listened_to_where_it_does_what_was_met():
    closes, resets = (Reaction.CLOSES,), (Reaction.RESETS,)
    order = Order(
        SignatureSet(
            [
                signature("late", speaks_first=Speaker.SERVER, foreign=(("http/get", closes), ("tls/hello", resets))),
                signature("http", probes=(probe("http", "get", "h", rarity=1),)),
            ]
        )
    )
    assert order.may_greet([("http/get", Reaction.CLOSES), ("tls/hello", Reaction.RESETS)])
    assert not order.may_greet([("http/get", Reaction.CLOSES)])
    assert not order.may_greet([("http/get", Reaction.CLOSES), ("tls/hello", Reaction.CLOSES)])
