"""Which modes play together, and whose a flow is."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from lab.ports import Ports
from lab.programs import Programs
from lab.traffic.mode import Mode, Stage
from lab.traffic.run import batches, whose


def _nothing(stage: Stage) -> None:
    """A mode that starts nothing."""


def mode(name: str, alone: str = "") -> Mode:
    return Mode(program=name, mode="", start=_nothing, alone=alone)


def stage(left: str, right: str) -> Stage:
    return Stage(
        programs=cast("Programs", None),
        ports=cast("Ports", None),
        directory=Path(),
        left_namespace="left",
        right_namespace="right",
        left=left,
        right=right,
        seconds=1.0,
        certificate=Path(),
    )


def test_modes_that_take_the_same_ports_play_in_turn() -> None:
    modes = [mode("a", "ike"), mode("b", "ike"), mode("c"), mode("d"), mode("e", "ike")]
    names = [[one.program for one in part] for part in batches(modes, 3)]
    assert names == [["a", "c", "d"], ["b"], ["e"]]


def test_a_flow_is_its_addresses_mode_s_or_that_of_ports_nobody_else_has() -> None:
    one, other = mode("one"), mode("other")
    stages = {one: stage("10.78.16.20", "10.78.32.20"), other: stage("10.78.16.21", "10.78.32.21")}
    stages[one].expect("sip", "tcp", 5060)
    stages[other].expect("rtp", "udp", (29_000, 29_030))
    owners = {address: key for key, value in stages.items() for address in (value.left, value.right)}

    def found(transport: str, left: tuple[str, int], right: tuple[str, int]) -> tuple[Mode | None, int]:
        return whose(stages, owners, (transport, frozenset((left, right))))

    assert found("tcp", ("10.78.16.20", 4000), ("10.78.32.20", 5060)) == (one, 0)
    assert found("tcp", ("10.78.16.20", 4000), ("10.78.32.20", 5061)) == (one, -1)
    assert found("udp", ("10.78.2.2", 29_002), ("10.78.8.2", 29_012)) == (other, 0)  # a link's own address
    assert found("udp", ("10.78.16.20", 29_002), ("10.78.32.21", 29_012)) == (other, 0)  # ICE takes any
    assert found("udp", ("10.78.16.20", 4000), ("10.9.9.9", 29_012)) == (None, -1)
