"""What passes between a flow and its endpoints."""

import pytest

from flowsonar.model import Confidence, Evidence, EvidenceKind, Layer, Side, Verdict
from flowsonar.signatures import SignatureSet, load_signatures
from flowsonar.verdicts.inherited import contradicted, from_side, own_words, remembered

SSH = Evidence(kind=EvidenceKind.PAYLOAD, service="ssh", confidence=Confidence.CONFIRMED, side=Side.RESPONDER)


@pytest.fixture(scope="module")
def signatures() -> SignatureSet:
    return load_signatures()


def test_a_cached_verdict_is_evidence_of_its_own_kind() -> None:
    verdict = Verdict(service="imap", over=Layer.TLS, product="Dovecot", confidence=Confidence.LIKELY)
    piece = remembered(verdict)
    assert (piece.kind, piece.service, piece.over) == (EvidenceKind.ENDPOINT, "imap", Layer.TLS)
    assert (piece.product, piece.confidence) == ("Dovecot", Confidence.LIKELY)


@pytest.mark.parametrize(
    ("service", "side", "midstream", "expected"),
    [
        ("dns", Side.RESPONDER, False, Confidence.CONFIRMED),
        ("dns", Side.INITIATOR, False, Confidence.LIKELY),
        ("dns", Side.INITIATOR, True, Confidence.CONFIRMED),
        ("skype", Side.INITIATOR, False, Confidence.CONFIRMED),
    ],
    ids=["responder", "initiator", "roles are a guess", "peers"],
)
def test_the_initiators_port_proves_little(
    signatures: SignatureSet, service: str, side: Side, midstream: bool, expected: Confidence
) -> None:
    given = Evidence(kind=EvidenceKind.REPLY, service=service, confidence=Confidence.CONFIRMED)
    (piece,) = from_side([given], side, signatures, midstream=midstream)
    assert (piece.side, piece.confidence) == (side, expected)


def test_own_bytes_contradict_what_was_known(signatures: SignatureSet) -> None:
    known = remembered(Verdict(service="http", confidence=Confidence.CONFIRMED))
    assert contradicted([known, SSH], signatures)
    assert not contradicted([known], signatures)
    assert not contradicted([SSH], signatures)


def test_only_what_the_responder_proved_is_its_own_word(signatures: SignatureSet) -> None:
    verdict = own_words([SSH], signatures)
    assert verdict is not None
    assert verdict.service == "ssh"
    for piece in (SSH._replace(side=Side.INITIATOR), SSH._replace(confidence=Confidence.LIKELY)):
        assert own_words([piece], signatures) is None
