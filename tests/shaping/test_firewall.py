import subprocess
from pathlib import Path

import pytest

from flowsonar.errors import ShapingError
from flowsonar.shaping.classes import DEFAULT_CLASSES
from flowsonar.shaping.firewall import Firewall
from flowsonar.shaping.nftrules import Rules, Treatment
from tests.needs import needs_program, needs_root
from tests.shaping.world import World

RULES = Rules(treatments=tuple(Treatment(one, one.dscp) for one in DEFAULT_CLASSES))

OTHERS = """
table inet filter {
	set blocked { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.7 }; }
	chain input { type filter hook input priority 0; policy accept; ip saddr @blocked drop; tcp dport 22 counter; }
}
table ip nat {
	chain post { type nat hook postrouting priority 100; oifname "wan" masquerade; }
}
table ip6 flowsonar {
	chain mine { }
}
"""


def firewall(lab: World) -> Firewall:
    return Firewall(("ip", "netns", "exec", lab.gateway, "nft"))


def script(folder: Path, text: str) -> Firewall:
    program = folder / "nft"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return Firewall((str(program),))


@needs_root()
@needs_program("nft")
def test_other_tables_are_the_same_before_and_after(lab: World) -> None:
    lab.nft("-f", "-", given=OTHERS)
    before = lab.nft("list", "ruleset")
    ours = firewall(lab)
    assert not ours.present()
    assert not ours.install(RULES)
    assert ours.present()
    during = lab.nft("list", "ruleset")
    for table in ("inet filter", "ip nat", "ip6 flowsonar"):
        assert lab.nft("list", "table", *table.split()) in during
        assert lab.nft("list", "table", *table.split()) in before
    assert ours.install(RULES)
    assert lab.nft("list", "ruleset").count("table inet flowsonar {") == 1
    assert ours.remove()
    assert lab.nft("list", "ruleset") == before
    assert not ours.remove()


@needs_root()
@needs_program("nft")
def test_a_table_of_somebody_else_is_left_alone(lab: World) -> None:
    lab.nft("-f", "-", given="table inet flowsonar {\nchain mine { tcp dport 1 drop; }\n}\n")
    before = lab.nft("list", "ruleset")
    ours = firewall(lab)
    for call in (lambda: ours.install(RULES), ours.remove, ours.present):
        with pytest.raises(ShapingError, match="did not make"):
            call()
    assert lab.nft("list", "ruleset") == before


@needs_root()
@needs_program("nft")
def test_counters_by_class(lab: World) -> None:
    ours = firewall(lab)
    with pytest.raises(ShapingError):
        ours.counters()
    ours.install(RULES)
    assert ours.counters()["realtime"] == (0, 0)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Operation not permitted (you must be root)\nnetlink: Error: cache initialization failed", "CAP_NET_ADMIN"),
        ("netlink: Error: cache initialization failed: Protocol not supported", "CONFIG_NF_TABLES"),
        ("internal:0:0-0: Error: Could not process rule: Operation not supported", "doctor"),
        ("<cmdline>:1:1-5: Error: syntax error", "syntax error"),
        ("", "no reason"),
    ],
)
def test_what_nft_says_becomes_one_line(tmp_path: Path, said: str, told: str) -> None:
    with pytest.raises(ShapingError, match=told) as caught:
        script(tmp_path, f"echo '{said}' >&2; exit 1").present()
    assert "\n" not in str(caught.value)


def test_a_program_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ShapingError, match="cannot be run"):
        Firewall((str(tmp_path / "nft"),)).present()
    monkeypatch.setattr("flowsonar.shaping.firewall._PATH", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ShapingError, match="apt install nftables"):
        Firewall()


def test_counters_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(ShapingError, match="not understood"):
        script(tmp_path, "echo '{}'").counters()


def test_a_program_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nft", 20)

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(ShapingError, match="did not answer"):
        Firewall(("nft",)).present()
