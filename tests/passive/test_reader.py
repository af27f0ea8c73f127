"""The reader: both sides' words, who may be believed alone, echoes, middles of flows, one direction."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsonar.model import EvidenceKind, Side
from flowsonar.passive import NOTHING, PassiveReader
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher

from .fakes import Conversation, FakeMatcher, FakeSignatures, opened

GET = b"GET / HTTP/1.1\r\nHost: files.example\r\nUser-Agent: curl/8.1 (something long enough to be no greeting)\r\n\r\n"
SSH = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"
QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0000") + b"\x07example\x03org\x00\x00\x01\x00\x01"
ANSWER = QUERY[:2] + b"\x81\x80" + QUERY[4:]


def test_a_request_alone_is_likely(reader):
    talk = Conversation(reader).send(GET).close()
    assert talk.best == ("http", "likely")
    assert talk.flow.name == "files.example"
    assert talk.evidence[0].side is Side.INITIATOR


def test_question_and_answer_confirm_each_other(reader):
    talk = Conversation(reader).send(GET).answer(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n")
    assert talk.best == ("http", "confirmed")
    assert talk.done


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    signatures = load_signatures()
    return PassiveReader(Matcher(signatures, cache=tmp_path_factory.mktemp("cache")), signatures)


def test_the_answer_to_hello_confirms_smtp_after_a_greeting_that_tells_nothing(real):
    talk = Conversation(real).answer(b"220 x\r\n").send(b"EHLO client.example\r\n")
    assert talk.best == ("smtp", "likely")
    assert not talk.done
    talk.answer(b"250-x\r\n250 SIZE\r\n")
    assert talk.best == ("smtp", "confirmed")
    assert talk.done


def test_an_answer_that_comes_line_by_line_is_read_on(real):
    talk = Conversation(real).send(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").answer(b"RTSP/1.0 200 OK\r\n")
    assert talk.best == ("rtsp", "likely")
    talk.answer(b"Public: OPTIONS, DESCRIBE\r\n")
    assert talk.best == ("rtsp", "confirmed")


def test_a_plain_value_confirms_a_command_of_redis(real):
    talk = Conversation(real).send(b"*3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\nb\r\n").answer(b"+OK\r\n")
    assert talk.best == ("redis", "confirmed")


def test_a_plain_value_alone_is_a_guess(real):
    assert Conversation(real).answer(b"+OK\r\n").best == ("redis", "guess")


def test_a_node_of_skype_answers_a_get_but_is_no_web_server(reader):
    talk = Conversation(reader).send(GET).answer(b"HTTP/1.0 404 Not Found\r\n\r\n").close()
    assert talk.best == ("http", "likely")


def test_a_server_that_speaks_first_is_believed_when_the_client_goes_along(reader):
    talk = Conversation(reader).answer(SSH)
    assert talk.best == ("ssh", "likely")
    assert talk.evidence[0].product == "OpenSSH_9.2p1"
    assert talk.flow.hints().first_speaker is Side.RESPONDER
    talk.send(b"\x01\x02\x03\x04 words that nobody knows")
    assert talk.best == ("ssh", "confirmed")
    assert talk.done


def test_a_server_that_speaks_first_is_not_believed_when_the_client_speaks_another_language(reader):
    talk = Conversation(reader).answer(SSH).send(GET).close()
    assert {one.confidence.value for one in talk.evidence} == {"likely"}


@pytest.mark.parametrize("client", [b"", b"GREETS you too\n", b"\x01\x02 something else"])
def test_a_greeting_proves_nothing_whatever_the_client_says(reader, client):
    talk = Conversation(reader).answer(b"GREETS you\n").send(client).answer(b"rubbish").close()
    assert talk.best == ("greets", "likely")


@pytest.mark.parametrize("client", [b"", b"GREETS you too\n", b"GREETS you\n"])
def test_what_comes_after_a_greeting_proves_it(reader, client):
    talk = Conversation(reader).answer(b"GREETS you\n").send(client).send(b"PROVE IT").answer(b"PROOF")
    assert talk.best == ("greets", "confirmed")
    assert talk.done
    for word in (b"yes", b"GREETS you too\n"):
        assert Conversation(reader).answer(b"GREETS you\nPROOF").send(word).best == ("greets", "confirmed")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_equal_greetings_with_a_proof_after_them(reader, order):
    talk = Conversation(reader).answer(b"GREETS you\n").send(b"GREETS you\n")
    for direction in order:
        talk.send((b"PROVE IT", b"PROOF")[direction], direction)
    assert talk.best == ("greets", "confirmed")


def test_an_echo_server_is_never_what_the_client_speaks(reader):
    talk = Conversation(reader).send(GET).answer(GET).close()
    assert talk.best in {("http", "likely"), ("echo", "likely")}
    assert ("echo", "likely") in {(one.service, one.confidence.value) for one in talk.evidence}


def test_equal_greetings_are_no_echo_when_the_next_messages_differ(reader):
    talk = Conversation(reader).send(SSH).answer(SSH)
    assert talk.best == ("ssh", "likely")
    talk.send(b"\x00\x00\x05\xdcclient").answer(b"\x00\x00\x04\x00server")
    assert talk.best == ("ssh", "confirmed")
    assert "echo" not in talk.flow.services


def test_equal_greetings_are_an_echo_when_the_next_messages_are_equal(reader):
    talk = Conversation(reader).send(SSH).answer(SSH).send(b"\x00\x00\x05\xdcclient").answer(b"\x00\x00\x05\xdcclient")
    assert talk.best == ("echo", "likely")


def test_the_echo_port_needs_no_second_message(reader):
    assert Conversation(reader, server_port=7).send(b"hello world").answer(b"hello world").best == ("echo", "likely")


def test_a_message_in_pieces(reader):
    talk = Conversation(reader).send(GET[:3]).send(GET[3:])
    assert talk.best == ("http", "likely")


def test_what_is_inside_another_protocol_is_not_meant(reader):
    talk = Conversation(reader, server_port=1080).send(b"\x05\x01\x00").answer(b"\x05\x00").send(GET).close()
    assert talk.best is None


def test_zeros_that_pad_a_short_frame_are_not_payload(reader):
    talk = Conversation(reader).send(b"\x00\x00").answer(b"\x00" * 6).send(GET)
    assert talk.best == ("http", "likely")


def test_zeros_over_udp_are_payload(real):
    """UDP's header says how long its payload is: NAT-PMP asks for the address with two zeros."""
    talk = Conversation(real, protocol=17, server_port=5351).send(b"\x00\x00")
    assert talk.best == ("nat-pmp", "likely")


def test_a_server_seen_first_in_the_middle(reader):
    talk = Conversation(reader, start=opened(midstream=True)).send(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n")
    assert talk.best == ("http", "likely")
    assert talk.evidence[0].side is Side.INITIATOR
    assert talk.flow.hints().first_speaker is None
    talk.answer(GET)
    assert talk.best == ("http", "confirmed")


def test_a_client_seen_first_in_the_middle_is_not_believed_alone(reader):
    assert Conversation(reader, start=opened(midstream=True)).send(SSH).best == ("ssh", "confirmed")
    assert Conversation(reader, start=opened(midstream=True)).send(GET).best == ("http", "likely")


def test_http2_settings_answer_the_preface(reader):
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000 04 00 00000000")
    talk = Conversation(reader).send(preface).answer(bytes.fromhex("000006 04 00 00000000 0003 00000080"))
    assert talk.best == ("http", "confirmed")


def test_dns_agrees_over_udp(reader):
    talk = Conversation(reader, protocol=17, server_port=5300).send(QUERY)
    assert talk.best == ("dns", "likely")
    assert talk.answer(ANSWER).best == ("dns", "confirmed")
    assert talk.done


def test_dns_that_does_not_agree_stays_likely(reader):
    talk = Conversation(reader, protocol=17, server_port=53).send(QUERY).answer(b"\x99\x99" + ANSWER[2:]).close()
    assert talk.best == ("dns", "likely")


def test_dns_over_tcp(reader):
    talk = Conversation(reader, server_port=53).send(len(QUERY).to_bytes(2, "big") + QUERY)
    talk.answer(len(ANSWER).to_bytes(2, "big") + ANSWER)
    assert talk.best == ("dns", "confirmed")


@pytest.mark.parametrize("port", [5353, 5355, 137])
def test_other_services_with_the_format_of_dns(reader, port):
    assert Conversation(reader, protocol=17, server_port=port).send(QUERY).close().best is None


def test_udp_sides_agree(reader):
    talk = Conversation(reader, protocol=17).send(b"OPTIONS sip:a@b SIP/2.0\r\n")
    assert talk.best == ("sip", "likely")
    assert talk.answer(b"SIP/2.0 200 OK\r\n").best == ("sip", "confirmed")


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


def test_smtp_and_ftp_are_told_apart_after_220(reader):
    smtp = Conversation(reader).answer(b"220 mx.example ESMTP\r\n")
    assert smtp.followed
    assert smtp.send(b"EHLO x\r\n").best == ("smtp", "confirmed")
    assert smtp.done
    ftp = Conversation(reader).answer(b"220 files FTP ready\r\n").send(b"USER anonymous\r\n")
    assert ftp.best == ("ftp", "likely")
    assert ftp.answer(b"331 password?\r\n").best == ("ftp", "confirmed")
    assert not ftp.done


def test_a_decided_flow_costs_nothing(reader):
    talk = Conversation(reader).send(GET).answer(b"HTTP/1.1 200 OK\r\n\r\n")
    calls = reader._matcher.calls
    before = len(talk.evidence)
    for _ in range(5):
        talk.send(GET).answer(GET)
    talk.close()
    assert reader._matcher.calls == calls
    assert len(talk.evidence) == before


def test_an_unknown_flow_is_matched_a_few_times_only(reader):
    talk = Conversation(reader)
    for _ in range(20):
        talk.send(b"\x91\x92\x93\x94\x95\x96\x97\x98").answer(b"\x81\x82\x83\x84\x85\x86\x87\x99")
    assert reader._matcher.calls <= 6
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


STUN_ASKS = bytes.fromhex("0001 0000 2112a442 00112233445566778899aabb")
STUN_ANSWERS = bytes.fromhex("0101 000c 2112a442 00112233445566778899aabb 0020 0008 0001 ec3f 5e12a443")


def _media(number):
    return (
        b"\x80\x60" + number.to_bytes(2, "big") + (number * 160).to_bytes(4, "big") + b"\x0a\x0b\x0c\x0d" + bytes(160)
    )


def test_media_is_waited_for_after_stun(real):
    talk = Conversation(real, protocol=17, server_port=30000)
    for _ in range(8):
        talk.send(STUN_ASKS).answer(STUN_ANSWERS)
    assert talk.followed
    assert talk.best == ("stun", "confirmed")
    for number in range(3):
        talk.send(_media(number))
    assert talk.evidence[-1].service == "rtp"
    assert talk.evidence[-1].confidence.value == "confirmed"
    assert talk.done


def test_media_that_does_not_come_is_not_waited_for_for_ever(real):
    talk = Conversation(real, protocol=17, server_port=30000)
    for _ in range(64):
        talk.send(STUN_ASKS).answer(STUN_ANSWERS)
    talk.send(STUN_ASKS)
    assert talk.done
    assert talk.best == ("stun", "confirmed")


def test_messages_of_a_call_that_say_nothing_new_are_evidence_once(real):
    talk = Conversation(real, protocol=17, server_port=30000)
    for _ in range(4):
        talk.send(STUN_ASKS).answer(STUN_ANSWERS)
    before = len(talk.evidence)
    for _ in range(30):
        talk.send(STUN_ASKS).answer(STUN_ANSWERS)
    assert len(talk.evidence) == before
    indication = b"\x00\x16" + STUN_ASKS[2:]  # TURN's Send
    assert len(talk.send(indication).evidence) > before


def test_what_media_looks_like_by_chance_is_not_believed(real):
    talk = Conversation(real, protocol=17, server_port=30000)
    for _ in range(4):
        talk.send(STUN_ASKS).answer(STUN_ANSWERS)
    talk.send(GET)
    assert {one.service for one in talk.evidence} == {"stun"}
