"""Servers that answer with changed replies: every conversation ends, and nothing wrong is believed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from flowsonar import limits
from flowsonar.model import Confidence
from flowsonar.signatures.matcher import Matcher, Reply
from flowsonar.signatures.templates import ConnectionFacts, render
from tests.hostile.fuzzed import SETTINGS, changed, changed_datagrams, confirmed, kin, services, talked
from tests.hostile.running import Running
from tests.hostile.servers import farm
from tests.hostile.test_servers import BUDGET, MEMORY_MIB

LONGEST_S = SETTINGS.budget.timeout_s + 2.2
"""The time allowed, two tries at STARTTLS of a second each, and the end."""
MOST = SETTINGS.budget.max_probes + SETTINGS.budget.max_unanswered + 8
FAMILIES = 16
"""The services are asked in so many groups, each its own test."""

ONE_BIT = frozenset({"9p", "dicom", "dns", "ike", "ldap", "smb", "stun", "sunrpc", "xmpp", "zmtp"})
"""Protocols whose true answer may be the question with one bit of its kind changed, or with a cookie put in; ZMTP's
greeting is the same on both sides, and XMPP's begins alike."""


def told() -> list[str]:
    """Services of which a reply is recorded."""
    known = services().services.items()
    return [name for name, one in known if any(example.to and example.matches for example in one.examples)]


@pytest.mark.parametrize("family", range(FAMILIES))
def test_no_changed_reply_hangs_breaks_or_deceives(family: int) -> None:
    for seed, service in enumerate(told()[family::FAMILIES]):
        server, answer = talked(service, 1000 * family + seed)
        assert server.now_s - 100 < LONGEST_S, service
        assert answer.connections + answer.datagrams <= MOST, service
        assert all(len(one.data) <= limits.EVIDENCE_BYTES for one in answer.evidence), service
        assert confirmed(answer) <= kin(service) | {"tls", "dtls", "echo"}, service


def test_our_question_with_one_bit_changed_proves_nothing() -> None:
    facts = ConnectionFacts(
        target_address=bytes([10, 0, 0, 9]), target_port=4444, prober_address=bytes([10, 0, 0, 1]), prober_port=40000
    )
    matcher, pick = Matcher(services()), random.Random(1)
    for probe in (probe for one in services().services.values() for probe in one.probes if not probe.special):
        first = next(step.send for step in probe.steps if step.send is not None)
        message = render(first, facts, {}, pick)
        for bit in range(min(len(message.data), 100) * 8):
            data = bytearray(message.data)
            data[bit // 8] ^= 1 << bit % 8
            reply = Reply(
                probe=probe.id, step=0, data=bytes(data), transport=probe.transport, message=message.data,
                sent={**facts.sent(), **message.sent},
            )  # fmt: skip
            proven = {one.service for one in matcher.reply(reply)[:1] if one.confidence is Confidence.CONFIRMED}
            assert proven <= ONE_BIT, (probe.id, bit)


def test_sockets_that_say_changed_replies(tmp_path: Path) -> None:
    """The same behind real sockets: the program ends, has a record of each, and says nothing of errors of its own."""
    chosen = told()[::12]
    with farm() as made:
        ports = {made.tcp(changed(service, seed)): service for seed, service in enumerate(chosen)}
        ports |= {made.udp(changed_datagrams(service, seed)): service for seed, service in enumerate(chosen)}
        targets = [f"127.0.0.1:{port}" for port in list(ports)[: len(chosen)]]
        targets += [f"127.0.0.1:{port}/udp" for port in list(ports)[len(chosen) :]]
        config = tmp_path / "flowsonar.toml"
        config.write_text(BUDGET, encoding="ascii")
        with Running(tmp_path, "probe", "--json", "--config", config, *targets) as running:
            for port in ports:
                running.await_line(rb'"dest_port":%d\b' % port)
            peak_mib = running.peak_mib()
            assert running.end() == 0
    assert peak_mib < MEMORY_MIB
    for record in running.records():
        proven = {record["app_proto"]} if record["flowsonar"]["confidence"] == "confirmed" else set()
        assert proven <= kin(ports[record["dest_port"]]) | {"tls", "echo"}, record
