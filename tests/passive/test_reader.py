"""The reader: what has no ports, what is only a port, when it stops."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsonar.model import EvidenceKind, Side
from flowsonar.passive import NOTHING, PassiveReader

from .fakes import ANSWER, GET, QUERY, SSH, Conversation, FakeMatcher, FakeSignatures, opened


def test_a_request_alone_is_likely(reader):
    talk = Conversation(reader).send(GET).close()
    assert talk.best == ("http", "likely")
    assert talk.flow.name == "files.example"
    assert talk.evidence[0].side is Side.INITIATOR


def test_question_and_answer_confirm_each_other(reader):
    talk = Conversation(reader).send(GET).answer(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n")
    assert talk.best == ("http", "confirmed")
    assert talk.done


def test_the_port_is_only_a_guess_and_only_at_the_end(reader):
    talk = Conversation(reader, server_port=80).send(b"\x91\x92\x93\x94\x95\x96\x97\x98")
    assert talk.best is None
    talk.close()
    assert talk.best == ("http", "guess")
    assert talk.evidence[-1].kind is EvidenceKind.PORT
    assert reader.port_guess(reader.open(opened(server_port=81))) is None


@pytest.mark.parametrize(("protocol", "service"), [(58, "icmp"), (50, "ipsec")])
def test_what_has_no_ports_is_what_the_header_says(reader, protocol, service):
    assert Conversation(reader, protocol=protocol).close().best == (service, "confirmed")


def test_a_protocol_number_nobody_names_says_nothing(reader):
    assert Conversation(reader, protocol=253).close().best is None


def test_a_decided_flow_costs_nothing(reader, matcher):
    talk = Conversation(reader).send(GET).answer(b"HTTP/1.1 200 OK\r\n\r\n")
    calls = matcher.calls
    before = len(talk.evidence)
    for _ in range(5):
        talk.send(GET).answer(GET)
    talk.close()
    assert matcher.calls == calls
    assert len(talk.evidence) == before


def test_an_unknown_flow_is_matched_a_few_times_only(reader, matcher):
    talk = Conversation(reader)
    for _ in range(20):
        talk.send(b"\x91\x92\x93\x94\x95\x96\x97\x98").answer(b"\x81\x82\x83\x84\x85\x86\x87\x99")
    assert matcher.calls <= 6
    assert talk.done


def test_nothing_for_an_empty_payload(reader):
    flow = reader.open(opened())
    assert reader.payload(flow, Conversation(reader).send(b"")._take(NOTHING) and _empty()) is NOTHING


def _empty():
    from flowsonar.flows.events import Payload

    return Payload(1, 0, 0, 0, 0, b"", 0, 0)


_words = st.sampled_from(
    [GET, SSH, QUERY, ANSWER, b"220 FTP\r\n", b"PASV\r\n", b"227 (1,2,3,4,5,6)\r\n", b"\x16\x03\x01\x00\x00",
     bytes.fromhex("15f202e2b459e6644a654d81763ac9dbf536"), bytes.fromhex("15f2775680f57324499eb8")]
)  # fmt: skip


@settings(max_examples=300)
@given(
    st.sampled_from([6, 17, 132, 1, 58, 99]),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 1), st.one_of(st.binary(max_size=80), _words)), max_size=12),
)
def test_any_payloads_in_any_order_never_break(protocol, midstream, payloads):
    talk = Conversation(
        PassiveReader(FakeMatcher(), FakeSignatures()), start=opened(protocol=protocol, midstream=midstream)
    )
    for direction, data in payloads:
        talk.send(data, direction)
    talk.close()
    talk.flow.hints()
    assert talk.flow.done


def test_two_weak_sides_on_their_port_prove_no_more_than_one(reader):
    talk = Conversation(reader).send(b"weak question").answer(b"weak answer")
    assert talk.best == ("weak", "likely")
