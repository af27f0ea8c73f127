"""Every recorded reply of every service, played as a greeting and as the answer to every question: no other label."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from flowsonar.model import Confidence, Transport
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.matcher import Matcher, Reply
from flowsonar.signatures.templates import ConnectionFacts, Message, render
from tests.hostile.crossed import CHANGES, WAYS, Played, claims, plays, recorded, sounded
from tests.hostile.fuzzed import kin, matcher, services
from tests.hostile.running import Running
from tests.hostile.servers import farm
from tests.hostile.test_servers import BUDGET

FAMILIES = 8
FACTS = ConnectionFacts(
    target_address=bytes([10, 0, 0, 9]), target_port=4444, prober_address=bytes([10, 0, 0, 1]), prober_port=40000
)


def own(played: Played) -> frozenset[str]:
    """What the player may be called: what it plays, and TLS, of which many programs complain in their own words."""
    return kin(played.service) | {"tls"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", range(FAMILIES))
def test_who_plays_a_service_is_called_no_other(family: int, way: str) -> None:
    for number, played in enumerate(recorded()[family::FAMILIES]):
        for change, made in CHANGES.items():
            data = made(random.Random(f"{family} {number}"), played.data)
            answer = sounded(data, way)
            assert claims(answer, Confidence.CONFIRMED) <= own(played), (played, change, data)
            if change == "as recorded":
                assert claims(answer, Confidence.LIKELY) <= own(played), played


def questions() -> list[tuple[str, int, Message]]:
    """Every message over TCP that we send, with the probe and the step that it is."""
    asked = [("listen", 0, Message(b"", {}))]
    pick = random.Random(1)
    for probe in (probe for one in services().services.values() for probe in one.probes):
        if probe.special or probe.transport is not Transport.TCP:
            continue
        first = next(number for number, step in enumerate(probe.steps) if step.send is not None)
        asked.append((probe.id, first, render(probe.steps[first].send, FACTS, {}, pick)))  # type: ignore[arg-type]
    return asked


def mistaken(judge: Matcher, played: Played, data: bytes, least: Confidence) -> set[str]:
    """Other services that some question of ours would make of it."""
    found = set()
    for probe, step, message in questions():
        reply = Reply(
            probe=probe, step=step, data=data, transport=Transport.TCP, message=message.data,
            sent={**FACTS.sent(), **message.sent},
        )  # fmt: skip
        best = judge.reply(reply)[:1]
        found |= {one.service for one in best if not one.soft and one.confidence.rank >= least.rank} - own(played)
    return found


@pytest.mark.parametrize("family", range(FAMILIES))
def test_no_question_makes_another_service_of_a_reply(family: int) -> None:
    for number, played in enumerate(recorded()[family::FAMILIES]):
        assert not mistaken(matcher(), played, played.data, Confidence.LIKELY), played
        for change, made in CHANGES.items():
            data = made(random.Random(f"{family} {number}"), played.data)
            assert not mistaken(matcher(), played, data, Confidence.CONFIRMED), (played, change, data)


def test_a_pattern_that_is_too_weak_would_be_found() -> None:
    weak = "^[R-S]"
    rserve = services().services["rserve"]
    pattern = rserve.replies[0]._replace(condition=rserve.replies[0].condition._replace(pattern=weak))
    others = (one for name, one in services().services.items() if name != "rserve")
    changed = Matcher(SignatureSet([*others, rserve._replace(replies=(pattern,))]))
    ssh = next(one for one in recorded() if one.data.startswith(b"SSH-2.0-OpenSSH"))
    assert not mistaken(matcher(), ssh, b"SSH", Confidence.CONFIRMED)
    assert mistaken(changed, ssh, b"SSH", Confidence.CONFIRMED) == {"rserve"}


def test_players_on_real_sockets(tmp_path: Path) -> None:
    chosen = recorded()[5::24]
    with farm() as made:
        ports = {made.tcp(plays(played.data, way)): played for played in chosen for way in ("greets", "answers")}
        config = tmp_path / "flowsonar.toml"
        config.write_text(BUDGET, encoding="ascii")
        targets = [f"127.0.0.1:{port}" for port in ports]
        with Running(tmp_path, "probe", "--json", "--config", config, *targets) as running:
            for port in ports:
                running.await_line(rb'"dest_port":%d\b' % port)
            assert running.end() == 0
    for record in running.records():
        if record["flowsonar"]["confidence"] in ("confirmed", "likely"):
            assert record["app_proto"] in own(ports[record["dest_port"]]), record
