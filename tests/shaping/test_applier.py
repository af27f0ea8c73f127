import json
from pathlib import Path

import pytest

from flowsonar.errors import ShapingError
from flowsonar.shaping import offload
from flowsonar.shaping.applier import Applier, default_state, restored_words
from flowsonar.shaping.kernel import Kernel
from flowsonar.shaping.queues import Discipline, Line, QueuePlan, plan

from .namespaces import inside, needs_root, run

SMALL = Kernel(
    qdiscs=frozenset({"htb", "pfifo"}), filters=frozenset({"u32"}), actions=frozenset({"mirred"}), ifb=True, clsact=True
)


def picture() -> str:
    """Everything that queues could change, without counters."""
    links = sorted(link["ifname"] for link in json.loads(run("ip", "-j", "link", "show")))
    names = ("wan", "lan", "lan2")
    there = [name for name in names if name in links]
    filters = [run("tc", "filter", "show", "dev", name, hook) for name in there for hook in ("ingress", "egress")]
    return repr((links, run("tc", "qdisc", "show"), filters, [offload.read(name) for name in there]))


def shaped(*lan: str, **line: object) -> QueuePlan:
    return plan(SMALL, [Line(wan="wan", up_kbit=4750, down_kbit=19000, lan=lan, **line)])  # type: ignore[arg-type]


@needs_root
@pytest.mark.parametrize("lan", [("lan",), ("lan", "lan2")], ids=["one inside interface", "two, by ifb"])
def test_undo_is_complete(tmp_path: Path, lan: tuple[str, ...]) -> None:
    with inside("wan", "lan", "lan2"):
        before = picture()
        applier = Applier(tmp_path / "state.json")
        applier.apply(shaped(*lan))
        assert "htb" in run("tc", "qdisc", "show", "dev", "wan")
        assert "gro" not in [name for name, on in offload.read("wan").items() if on]
        applier.undo()
        assert picture() == before
        assert not (tmp_path / "state.json").exists()
        applier.undo()  # twice does no harm
        assert picture() == before


@needs_root
def test_another_start_after_a_kill_takes_over(tmp_path: Path) -> None:
    with inside("wan", "lan", "lan2"):
        before = picture()
        Applier(tmp_path / "state.json").apply(shaped("lan", "lan2"))
        Applier(tmp_path / "state.json").apply(shaped("lan"))
        assert "fs-ifb0" not in run("ip", "link", "show")
        Applier.clear(tmp_path / "state.json")
        assert picture() == before


@needs_root
def test_a_simple_queue_of_somebody_else_comes_back(tmp_path: Path) -> None:
    with inside("wan", "lan", "lan2"):
        run("tc", "qdisc", "add", "dev", "wan", "root", "handle", "77:", "pfifo", "limit", "123")
        before = picture()
        applier = Applier(tmp_path / "state.json")
        applier.apply(shaped("lan"))
        applier.undo()
        assert picture() == before


@needs_root
def test_what_cannot_be_put_back_is_not_touched(tmp_path: Path) -> None:
    with inside("wan", "lan", "lan2"):
        run("tc", "qdisc", "add", "dev", "lan", "root", "handle", "9:", "htb", "default", "1")
        before = picture()
        with pytest.raises(ShapingError, match="lan has a queue that somebody set up"):
            Applier(tmp_path / "state.json").apply(shaped("lan"))
        assert picture() == before


@needs_root
def test_other_peoples_filters_stay(tmp_path: Path) -> None:
    with inside("wan", "lan", "lan2"):
        run("tc", "qdisc", "add", "dev", "lan", "clsact")
        match = ("u32", "match", "u32", "0", "0", "flowid", "1:1")
        run("tc", "filter", "add", "dev", "lan", "egress", "prio", "5", "protocol", "all", *match)
        before = picture()
        applier = Applier(tmp_path / "state.json")
        applier.apply(shaped("lan", "lan2"))
        applier.undo()
        assert picture() == before


@needs_root
def test_a_queue_that_somebody_set_up_meanwhile_stays(tmp_path: Path) -> None:
    with inside("wan", "lan", "lan2"):
        applier = Applier(tmp_path / "state.json")
        applier.apply(shaped("lan"))
        run("tc", "qdisc", "replace", "dev", "wan", "root", "handle", "9:", "pfifo")
        applier.undo()
        assert "pfifo 9:" in run("tc", "qdisc", "show", "dev", "wan")


@needs_root
def test_an_interface_that_is_not_there_or_vanishes(tmp_path: Path) -> None:
    with inside("wan", "lan", "lan2"):
        applier = Applier(tmp_path / "state.json")
        with pytest.raises(ShapingError, match="no interface elsewhere"):
            applier.apply(shaped("elsewhere"))
        applier.apply(shaped("lan"))
        run("ip", "link", "del", "lan")
        applier.undo()
        assert "htb" not in run("tc", "qdisc", "show")


@needs_root
def test_what_the_kernel_refuses_leaves_nothing(tmp_path: Path) -> None:
    kernel = Kernel(qdiscs=frozenset({"htb", "no_such_queue"}))
    with inside("wan", "lan", "lan2"):
        before = picture()
        chosen = plan(kernel, [Line(wan="wan", up_kbit=900, discipline=Discipline.HTB)])
        broken = QueuePlan(
            places=chosen.places,
            commands=(*chosen.commands, type(chosen.commands[0])("tc", "qdisc add dev wan parent 1:20 no_such_queue")),
            choices=chosen.choices,
        )
        with pytest.raises(ShapingError, match="no_such_queue"):
            Applier(tmp_path / "state.json").apply(broken)
        assert picture() == before


def test_a_damaged_state_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(ShapingError, match="cannot be read"):
        Applier.clear(tmp_path / "state.json")


def test_nothing_is_planned_nothing_is_written(tmp_path: Path) -> None:
    Applier(tmp_path / "state.json").apply(plan(Kernel(), []))
    assert not (tmp_path / "state.json").exists()
    assert default_state().name.startswith("queues-")


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("pfifo", {"limit": 5}, "handle 8: pfifo limit 5"),
        ("pfifo_fast", {"bands": 3}, "handle 8: pfifo_fast"),
        (
            "fq_codel",
            {"limit": 10240, "flows": 1024, "quantum": 1514, "target": 4999, "interval": 99999, "ecn": True},
            "handle 8: fq_codel limit 10240 flows 1024 quantum 1514 target 4999us interval 99999us ecn",
        ),
        (
            "cake",
            {"bandwidth": 2500000, "diffserv": "diffserv4", "flowmode": "triple-isolate", "nat": True, "rtt": 100000},
            "handle 8: cake bandwidth 20000000bit diffserv4 triple-isolate nat rtt 100000us overhead 0",
        ),
        ("htb", {}, None),
    ],
)
def test_the_words_that_make_a_queue_again(kind: str, options: dict[str, object], words: str | None) -> None:
    assert restored_words(kind, "8:", options) == words
