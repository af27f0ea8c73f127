from flowsonar.app.peers import harmless, key_of
from flowsonar.model import Transport
from flowsonar.signatures import load_signatures

SIGNATURES = load_signatures()


def test_only_what_is_marked_is_put_in_another_name() -> None:
    kept = [probe for one in harmless(SIGNATURES).services.values() for probe in one.probes]
    assert {probe.id for probe in kept} >= {"bittorrent/krpc-ping", "skype/undecipherable-message"}
    assert all(probe.as_peer and probe.transport is Transport.UDP and not probe.amplifies for probe in kept)
    assert len(harmless(SIGNATURES)) == len(SIGNATURES)


def test_the_field_by_which_an_answer_is_known() -> None:
    question = b"d1:ad2:id20:" + bytes(20) + b"e1:q4:ping2:roi1e1:t4:wxyz1:y1:qe"
    assert key_of(SIGNATURES.probe("bittorrent/krpc-ping"), question) == (question.index(b"wxyz"), b"wxyz")
    assert key_of(SIGNATURES.probe("skype/undecipherable-message"), b"AB" + bytes(18)) == (0, b"AB")
    assert key_of(SIGNATURES.probe("skype/undecipherable-message"), b"A") is None
    assert key_of(SIGNATURES.probe("dns/version"), bytes(30)) is None
    assert key_of(None, b"anything") is None
