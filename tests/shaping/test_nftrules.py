import pytest

from flowsonar.shaping.classes import DEFAULT_CLASSES, DSCP, MARK_MASK, SET_MASK
from flowsonar.shaping.nftrules import CLEAR, COMMENT, LEFT, LEFT_MARK, Rules, Treatment, render
from tests.needs import needs_program, needs_root
from tests.shaping.world import World

ALL = tuple(Treatment(one, one.dscp) for one in DEFAULT_CLASSES)
REALTIME = ALL[1]
SIGNALLING = Treatment(DEFAULT_CLASSES[1], DSCP["CS5"])


def test_values_tell_mark_and_class() -> None:
    assert REALTIME.value == 0xB9020020
    assert REALTIME.value & MARK_MASK == REALTIME.mark
    assert SIGNALLING.value == 0xA1020020
    assert CLEAR not in {one.value for one in ALL}


def test_a_treatment_is_one_chain_however_often_it_is_named() -> None:
    text = render(Rules(treatments=(REALTIME, SIGNALLING, REALTIME), unknown=REALTIME))
    assert text.count("chain serve_realtime_ef {") == 1
    assert text.count("chain serve_realtime_cs5 {") == 1
    assert text.count("counter realtime { }") == 1


def test_only_our_bits_are_written() -> None:
    text = render(Rules(treatments=ALL))
    for line in text.splitlines():
        if "mark set" in line:
            assert "mark & 0x02f0ffff" in line


def test_everything_asks_whether_we_live_first() -> None:
    text = render(Rules(treatments=ALL))
    for hook in text.split("type filter hook ")[1:]:
        assert hook.splitlines()[1].strip() == "meta nfproto != @alive return"


def test_without_queues_the_priority_is_the_systems() -> None:
    assert "meta priority set 1:20" in render(Rules(treatments=ALL))
    text = render(Rules(treatments=ALL, mark_only=True, inside=("lan",), outside=("wan",)))
    assert "meta priority set 1:" not in text
    assert "meta priority set 0:6" in text


def test_acknowledgements_do_not_wait_among_data_that_is_served_last() -> None:
    hasten = "meta l4proto tcp meta length < 100 meta priority set 1:30"
    text = render(Rules(treatments=ALL))
    chains = {name: text.split(f"chain {name} {{")[1].split("}")[0] for name in ("serve_bulk_le", "serve_default_df")}
    for chain in chains.values():
        assert chain.index("meta priority set 1:") < chain.index(hasten)
    for name in ("serve_realtime_ef", "serve_interactive_af21"):
        assert hasten not in text.split(f"chain {name} {{")[1].split("}")[0]
    served = text.split("chain served {")[1]
    assert served.index(hasten) < served.index("jump serve_")  # connections without a mark
    assert hasten not in render(Rules(treatments=ALL, mark_only=True))


def test_what_does_not_come_over_the_line_has_a_class_of_its_own() -> None:
    text = render(Rules(treatments=ALL, inside=("lan", "lan2"), outside=("wan",)))
    assert 'oifname { "lan", "lan2" } iifname != { "wan" } meta priority set 1:fe' in text


def test_what_is_left_alone_is_served_by_nothing() -> None:
    text = render(Rules(treatments=ALL, unknown=ALL[5]))
    served = text.split("chain served {")[1]
    assert f"{LEFT_MARK:#010x}" not in served
    assert f"{LEFT_MARK:#010x}" in text.split("chain seek {")[1].split("}\n\n")[0]
    assert LEFT & SET_MASK


@pytest.mark.parametrize(
    "rules",
    [
        Rules(treatments=()),
        Rules(treatments=ALL),
        Rules(treatments=(*ALL, SIGNALLING), unknown=ALL[4], mark_only=True),
        Rules(treatments=ALL, exempt=("10.9.0.0/16", "10.9.1.1/32", "fd00:9::/64"), inside=("lan",), outside=("wan",)),
    ],
    ids=["nothing", "classes", "mark-only", "exempt"],
)
@needs_root()
@needs_program("nft")
def test_the_kernel_takes_it_and_it_can_be_loaded_again(rules: Rules, lab: World) -> None:
    lab.nft("-f", "-", given=render(rules))
    listed = lab.nft("list", "ruleset")
    assert f'comment "{COMMENT}"' in listed
    lab.nft("flush", "ruleset")
    lab.nft("-f", "-", given=listed)
