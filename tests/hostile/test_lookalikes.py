"""Who answers like a peer, a call or Skype without being one: nothing of it may look likely."""

from __future__ import annotations

import random

import pytest

from flowsonar.model import Confidence, Transport
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import ProbeSpec
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher, Reply
from flowsonar.signatures.templates import ConnectionFacts, Message, render

HIDDEN = frozenset({"bittorrent", "skype", "rtp"})
FACTS = ConnectionFacts(
    target_address=bytes([10, 0, 0, 9]),
    target_port=4444,
    prober_address=bytes([10, 0, 0, 1]),
    prober_port=40000,
    target_host=None,
)
STUN = bytes.fromhex("0101000c2112a442") + bytes(range(12)) + bytes.fromhex("002000080001ec3f5e12a443")
NTP = bytes.fromhex("240203e8") + bytes(range(44))
SNMP = bytes.fromhex("302902010004067075626c6963a21c02047a3b1c2d020100020100300e300c06082b060102010101000500")
QUIC = bytes.fromhex("800000000008") + bytes(range(8)) + b"\x08" + bytes(range(8)) + bytes.fromhex("00000001ff00001d")
RTP = bytes.fromhex("800005 9c 0002e160 f6bf57e2".replace(" ", "")) + b"\x7d" * 160
NETBIOS = bytes(2) + bytes.fromhex("8400000000010000000020434b") + b"A" * 30 + bytes(120)


@pytest.fixture(scope="module")
def signatures() -> SignatureSet:
    return load_signatures()


@pytest.fixture(scope="module")
def matcher(signatures: SignatureSet) -> Matcher:
    return Matcher(signatures, engine="re2")


def _asked(signatures: SignatureSet, transport: Transport) -> list[tuple[ProbeSpec, Message]]:
    """Every probe that begins with a message of its own, rendered."""
    pick = random.Random(3)
    probes = [probe for one in signatures.services.values() for probe in one.probes if probe.transport is transport]
    found = []
    for probe in probes:
        step = probe.steps[0] if probe.steps else None
        if step is not None and step.send is not None and probe.special is None:
            found.append((probe, render(step.send, FACTS, {}, pick)))
    return found


def _hidden(matcher: Matcher, probe: ProbeSpec, message: Message, data: bytes) -> list[str]:
    reply = Reply(
        probe=probe.id, step=0, data=data, transport=probe.transport, sent=dict(message.sent), message=message.data
    )
    found = [one for one in matcher.reply(reply) if one.service in HIDDEN]
    return [one.pattern for one in found if one.confidence.rank >= Confidence.LIKELY.rank]


def test_random_answers_are_nobody(signatures: SignatureSet, matcher: Matcher) -> None:
    pick = random.Random(1)
    asked = _asked(signatures, Transport.UDP)
    for _ in range(1000):
        probe, message = pick.choice(asked)
        assert not _hidden(matcher, probe, message, pick.randbytes(pick.choice((4, 11, 20, 23, 26, 60, 200, 600))))


@pytest.mark.parametrize("data", [STUN, NTP, SNMP, QUIC, RTP, NETBIOS])
def test_other_services_are_not_peers(signatures: SignatureSet, matcher: Matcher, data: bytes) -> None:
    for probe, message in _asked(signatures, Transport.UDP):
        assert not _hidden(matcher, probe, message, data), probe.id
        copied = message.data[:2] + data[2:]  # an identifier given back, as DNS, RADIUS and NetBIOS do
        assert not _hidden(matcher, probe, message, copied), probe.id


def test_echo_servers_are_not_peers(signatures: SignatureSet, matcher: Matcher) -> None:
    for transport in (Transport.UDP, Transport.TCP):
        for probe, message in _asked(signatures, transport):
            for data in (message.data, message.data + b"\0", message.data[: len(message.data) // 2]):
                assert not _hidden(matcher, probe, message, data), probe.id


def test_a_reset_of_utp_is_not_skype(signatures: SignatureSet, matcher: Matcher) -> None:
    for probe, message in _asked(signatures, Transport.UDP):
        reset = (message.data + bytes(20))[:4] + bytes(14) + b"\x03\xa1\xb2" + (message.data + bytes(24))[19:21]
        found = _hidden(matcher, probe, message, reset)
        assert not any(pattern.startswith(("skype/", "rtp/")) for pattern in found), probe.id


@pytest.mark.parametrize("data", [STUN, NTP, SNMP, QUIC, RTP, NETBIOS, bytes(60), b"\xff" * 60])
def test_first_bytes_of_others_are_not_peers(matcher: Matcher, data: bytes) -> None:
    for transport in (Transport.UDP, Transport.TCP):
        found = [one for one in matcher.payload(transport, None, data) if one.service in HIDDEN]
        assert not [one.pattern for one in found if one.confidence.rank >= Confidence.LIKELY.rank]


def test_random_first_bytes_are_nobody(matcher: Matcher) -> None:
    pick = random.Random(2)
    for _ in range(1000):
        data = pick.randbytes(pick.choice((11, 20, 23, 26, 60, 200, 600)))
        found = [one for one in matcher.payload(Transport.UDP, None, data) if one.service in HIDDEN]
        assert not [one.pattern for one in found if one.confidence.rank >= Confidence.LIKELY.rank]
