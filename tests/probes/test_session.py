"""Playbooks: `<<` is what we do, `>>` what comes back."""

import random

import pytest

from flowsonar.config import BudgetSettings, ScopeSettings, Settings
from flowsonar.model import Confidence, EvidenceKind, Outcome, Side, Transport
from flowsonar.probes.dialogue import Ended
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import Condition, ProbeSpec, Step
from flowsonar.signatures.templates import parse_template
from tests.probes.world import SIGNATURES, UDP, Script, play, question, reply, same, signature

CLOSED = Ended(0, Outcome.CLOSED)
REFUSED = Ended(0, Outcome.REFUSED, "refused")


def labels(answer):
    return [(one.service, one.confidence.value) for one in answer.evidence if one.service]


def test_server_that_greets_is_known_by_one_connection_and_no_word():
    script = Script([[b"SSH-2.0-OpenSSH_9.2\r\n"]])
    answer = play(script, question())
    same(script, """
        << connect for listen
        >> SSH-2.0-OpenSSH_9.2|
        << close
    """)  # fmt: skip
    assert labels(answer) == [("ssh", "confirmed")]
    assert (answer.outcome, answer.connections, answer.bytes_sent) == (Outcome.ANSWERED, 1, 0)
    assert answer.rtt_ms == pytest.approx(1.0)
    evidence = answer.evidence[0]
    assert (evidence.kind, evidence.probe, evidence.signature) == (EvidenceKind.REPLY, "listen", "ssh/version")
    assert evidence.data == b"SSH-2.0-OpenSSH_9.2\r\n"
    assert evidence.side is None


def test_listening_and_the_first_question_share_a_connection():
    script = Script([["silent", b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\r\n"]])
    answer = play(script, question())
    same(script, """
        << connect for listen
        >> nothing
        << http/get: GET / HTTP/1.1|Host: 10.0.0.9||
        >> HTTP/1.1 200 OK|Server: nginx/1.22.1||
        << close
    """)  # fmt: skip
    assert (answer.evidence[0].product, answer.evidence[0].version) == ("nginx", "1.22.1")
    assert answer.connections == 1


@pytest.mark.parametrize("hints", [{"first_speaker": Side.INITIATOR}, {"candidates": ("http",)}])
def test_nobody_waits_for_a_greeting_where_the_client_speaks_first(hints):
    script = Script([[b"HTTP/1.1 200 OK\r\n"]])
    play(script, question(**hints))
    same(script, """
        << connect for http/get
        << http/get: GET / HTTP/1.1|Host: 10.0.0.9||
        >> HTTP/1.1 200 OK|
        << close
    """)  # fmt: skip


def test_a_soft_greeting_is_followed_up_on_the_same_connection():
    script = Script([[b"220 hello\r\n", "silent", b"211-Features:\r\n"]])
    answer = play(script, question("10.0.0.9:21"))
    same(script, """
        << connect for listen
        >> 220 hello|
        >> nothing
        << ftp/features: FEAT|
        >> 211-Features:|
        << close
    """)  # fmt: skip
    assert labels(answer)[-1] == ("ftp", "confirmed")


def test_the_port_decides_which_follow_up_comes_first_but_not_what_is_found():
    script = Script([[b"220 hello\r\n", "silent", b"500 what?\r\n", "silent", b"250-me\r\n"]])
    answer = play(script, question("10.0.0.9:21"))
    assert labels(answer)[-1] == ("smtp", "confirmed")
    assert answer.connections == 1


def test_any_reply_to_any_question_counts():
    script = Script([["silent", b"-ERR unknown command\r\n", "silent", b"+PONG\r\n"]])
    answer = play(script, question())
    same(script, """
        << connect for listen
        >> nothing
        << http/get: GET / HTTP/1.1|Host: 10.0.0.9||
        >> -ERR unknown command|
        >> nothing
        << redis/ping: PING|
        >> +PONG|
        << close
    """)  # fmt: skip
    assert labels(answer) == [("redis", "likely"), ("redis", "confirmed")]
    assert answer.connections == 1


def test_who_hangs_up_on_text_is_asked_for_tls_next():
    script = Script([[CLOSED], [CLOSED], [b"\x00\x08ab\x80\x00\x00\x01"]])
    answer = play(script, question("10.0.0.9:53", first_speaker=Side.INITIATOR))
    assert [line for line in script.lines if "connect" in line][:2] == [
        "<< connect for dns/root-tcp",
        "<< connect for tls",
    ]
    assert answer.connections >= 2


def test_who_hangs_up_on_everything_is_closed():
    script = Script([[CLOSED]] * 60)
    answer = play(script, question())
    assert answer.outcome is Outcome.CLOSED
    assert 5 < answer.connections <= 65
    assert answer.evidence == ()


@pytest.mark.parametrize("most", [0, 2])
def test_connections_without_a_byte_count_by_themselves(most):
    settings = Settings(budget=BudgetSettings(max_probes=3, max_unanswered=most))
    assert play(Script([[CLOSED]] * 60), question(), settings).connections <= 3 + most
    assert play(Script([["silent"] * 9] * 60), question(), settings).connections <= 3 + most


def test_a_service_that_knows_only_its_own_question_is_found_by_it():
    known = lambda sent: b"\x00\x08ab\x80\x00\x00\x01" if sent[:2] == b"\x00\x06" else CLOSED  # noqa: E731
    script = Script([["silent", CLOSED], *[[known]] * 20])
    answer = play(script, question())
    assert labels(answer) == [("dns", "confirmed")]
    assert script.lines[-1] == "<< close" or "<<" not in script.lines[-1]


def test_a_server_that_greets_only_who_does_not_ask_is_found_in_the_end():
    def moves():
        yield ["silent", CLOSED]
        yield [CLOSED]
        yield [b"SSH-2.0-shy\r\n"]

    answer = play(Script([*moves(), *[[CLOSED]] * 40]), question())
    assert labels(answer) == [("ssh", "confirmed")]


def test_the_standing_connection_is_listened_to_while_others_are_asked():
    script = Script([["silent", "silent", b"HTTP/1.1 200 OK\r\n"], *[["silent"] * 3] * 60])
    answer = play(script, question())
    assert labels(answer) == [("http", "confirmed")]
    assert answer.evidence[0].probe == "http/get"


def test_a_silent_port_is_given_up_in_time():
    script = Script([["silent"] * 9] * 60)
    answer = play(script, question())
    assert answer.outcome is Outcome.SILENT
    assert answer.connections <= 65
    assert 2.8 < script.now_s - 100 <= 3.0
    assert answer.took_ms == pytest.approx((script.now_s - 100) * 1000)


def test_a_server_that_thinks_for_two_seconds_is_heard_in_the_end():
    script = Script([["silent"] * 9] * 4 + [[b"HTTP/1.1 200 OK\r\n"]])
    script.connections[3:] = [[b"HTTP/1.1 200 OK\r\n"]] * 3
    answer = play(script, question())
    assert labels(answer) == [("http", "confirmed")]


def test_one_connection_allowed_is_used_for_listening_asking_and_waiting():
    settings = Settings(budget=BudgetSettings(max_probes=1))
    script = Script([["silent", "silent", b"SSH-2.0-slow\r\n"]])
    answer = play(script, question(), settings)
    assert labels(answer) == [("ssh", "confirmed")]
    assert answer.connections == 1


def test_what_the_network_has_not_delivered_is_waited_for():
    script = Script([["silent", "unacknowledged", b"HTTP/1.1 200 OK\r\n"]])
    answer = play(script, question())
    assert labels(answer) == [("http", "confirmed")]
    assert answer.connections == 1


@pytest.mark.parametrize(
    "outcome", [Outcome.REFUSED, Outcome.UNREACHABLE, Outcome.SILENT, Outcome.NOT_PERMITTED, Outcome.CANCELLED]
)
def test_a_connection_that_never_stood_says_so(outcome):
    answer = play(Script([[Ended(0, outcome, "because")]]), question())
    assert (answer.outcome, answer.detail, answer.evidence) == (outcome, "because", ())
    assert answer.connections == (outcome not in (Outcome.NOT_PERMITTED, Outcome.CANCELLED))


def test_refused_later_keeps_what_was_heard_before():
    answer = play(Script([["silent", b"what?\r\n"], [REFUSED], [REFUSED]]), question())
    assert answer.outcome is Outcome.ANSWERED
    assert answer.evidence[0].service is None
    assert answer.connections == 3


def test_who_opens_the_port_anew_for_each_client_is_waited_for():
    other = [["silent", b"what?\r\n", CLOSED], [REFUSED]]
    script = Script([*other * 3, [b"SSH-2.0-late\r\n"]])
    answer = play(script, question())
    assert labels(answer)[-1] == ("ssh", "confirmed"), script.lines


def test_a_question_that_an_answer_points_to_is_put_again_where_the_connection_was_about_to_end():
    script = Script([[b"<html>no request", "silent", CLOSED], [b"HTTP/1.0 200 OK\r\nServer: test\r\n\r\n", CLOSED]])
    pages = (reply("http", "page", "^<html", Confidence.GUESS, soft=True), *SIGNATURES.services["http"].replies)
    web = SIGNATURES.services["http"]._replace(replies=pages)
    others = [one for one in SIGNATURES.services.values() if one.service != "http"]
    answer = play(script, question(candidates=("redis",), midstream=True), catalogue=SignatureSet([web, *others]))
    same(
        script,
        """
        << connect for redis/ping
        << redis/ping: PING|
        >> <html>no request
            >> nothing
        << http/get: GET / HTTP/1.1|Host: 10.0.0.9||
        >> closed
        << connect for http/get
        << http/get: GET / HTTP/1.1|Host: 10.0.0.9||
        >> HTTP/1.0 200 OK|Server: test||
        << close
        """,
    )
    assert ("http", "confirmed") in labels(answer)


def test_a_port_that_nobody_answered_at_is_not_tried_again():
    script = Script([[CLOSED], [REFUSED], [b"SSH-2.0-late\r\n"]])
    assert play(script, question()).connections == 2


def test_an_unknown_reply_is_a_result_with_its_bytes():
    script = Script([["silent", b"\x01\x02strange\r\n", CLOSED], *[["silent"] * 2] * 60])
    answer = play(script, question())
    assert answer.outcome is Outcome.ANSWERED
    assert labels(answer) == []
    evidence = answer.evidence[0]
    assert (evidence.confidence, evidence.data) == (Confidence.UNKNOWN, b"\x01\x02strange\r\n")
    assert "strange" in evidence.detail


# -- echo -------------------------------------------------------------------------------------------------------


def test_an_echo_is_an_echo_and_satisfies_nothing_else():
    script = Script([["silent", lambda sent: sent], [lambda sent: sent]])
    answer = play(script, question())
    assert labels(answer) == [("echo", "confirmed")]
    assert answer.connections == 2


def test_an_echo_with_something_behind_it_is_no_skype():
    script = Script([["silent", lambda sent: sent + b"x"], [lambda sent: sent[:16] + b"x"] * 3] * 3)
    assert ("skype", "likely") not in labels(play(script, question()))


def test_udp_echo():
    script = Script([[lambda sent: sent] * 2], rtt_s=None)
    assert labels(play(script, question("10.0.0.9:4000/udp"))) == [("echo", "confirmed")]


# -- datagrams --------------------------------------------------------------------------------------------------


def nack(address: bytes):
    return lambda sent: sent[:2] + b"\x07" + address + b"tokn"


def test_skype_node():
    script = Script([[nack(b"\x0a\x00\x00\x01")]], rtt_s=None)
    answer = play(script, question("10.0.0.9:35990/udp", initiator_bytes=random.Random(1).randbytes(40)))
    assert labels(answer) == [("skype", "confirmed")]
    assert (answer.datagrams, answer.connections) == (1, 0)


def test_skype_node_that_sees_our_configured_public_address():
    settings = Settings(scope=ScopeSettings(own_addresses=("198.51.100.7",)))
    script = Script([[nack(b"\xc6\x33\x64\x07")]], rtt_s=None)
    answer = play(script, question("10.0.0.9:35990/udp", candidates=("skype",)), settings)
    assert ("skype", "confirmed") in labels(answer)


def test_skype_behind_a_nat_nobody_told_of_is_likely_after_a_second_look():
    script = Script([[nack(b"\xc6\x33\x64\x07"), nack(b"\xc6\x33\x64\x07")]], rtt_s=None)
    answer = play(script, question("10.0.0.9:35990/udp", candidates=("skype",)))
    assert labels(answer) == [("skype", "likely")]
    assert "198.51.100.7" in answer.evidence[0].detail
    assert answer.datagrams == 2


def test_an_address_that_changes_is_no_skype():
    moves = [nack(bytes([9, 9, 9, number])) for number in range(9)]
    answer = play(Script([moves], rtt_s=None), question("10.0.0.9:35990/udp", candidates=("skype",)))
    assert labels(answer) == []
    assert answer.datagrams <= 5


def test_skype_is_never_asked_over_ipv6():
    script = Script([["silent"] * 20], rtt_s=None, local="fd00::1")
    answer = play(script, question("[fd00::9]:35990/udp", candidates=("skype",)))
    assert answer.outcome is Outcome.SILENT
    assert not any("skype" in line for line in script.lines)


def test_a_late_datagram_answers_the_question_it_belongs_to():
    sent: list[bytes] = []

    def late(data: bytes) -> bytes:
        return sent[0][:2] + b"\x80\x00\x00\x01"

    def silent(data: bytes) -> str:
        sent.append(data)
        return "silent"

    script = Script([[silent, late]], rtt_s=None)
    answer = play(script, question("10.0.0.9:53/udp"))
    assert labels(answer) == [("dns", "confirmed")]
    assert answer.evidence[0].probe == "dns/root"
    assert answer.datagrams == 2


def test_a_dialogue_that_was_answered_late_is_held_again():
    two = ProbeSpec(
        service="tunnel", name="open", transport=UDP, rarity=1, confidence=Confidence.CONFIRMED,
        steps=(
            Step(send=parse_template("HELLO"), expect=Condition(pattern="^WELCOME")),
            Step(send=parse_template("WHO"), expect=Condition(pattern="^ME")),
        ),
    )  # fmt: skip
    others = [
        signature(name, probes=(ProbeSpec(service=name, name="ask", transport=UDP, rarity=2,
                                          steps=(Step(send=parse_template(name)),)),))
        for name in ("one", "two")
    ]  # fmt: skip
    tunnel = signature("tunnel", probes=(two,), replies=(reply("tunnel", "opened", "^WELCOME", Confidence.GUESS),))
    script = Script([["silent", b"WELCOME", b"WELCOME", b"ME"]], rtt_s=None)
    answer = play(script, question("10.0.0.9:1701/udp"), catalogue=SignatureSet([tunnel, *others]))
    assert labels(answer)[-1] == ("tunnel", "confirmed"), script.lines
    assert sum("tunnel/open" in line for line in script.lines) == 4


@pytest.mark.parametrize("times", [1, 2])
def test_a_dialogue_that_was_dropped_by_a_busy_server_is_held_once_more(times):
    """One that serves one client at a time may drop who comes while it is done with our last connection."""
    two = ProbeSpec(
        service="tunnel", name="open", transport=Transport.TCP, rarity=9, confidence=Confidence.CONFIRMED,
        steps=(
            Step(send=parse_template("HELLO"), expect=Condition(pattern="^WELCOME")),
            Step(send=parse_template("WHO"), expect=Condition(pattern="^ME")),
        ),
    )  # fmt: skip
    first = ProbeSpec(
        service="one", name="ask", transport=Transport.TCP, rarity=1, steps=(Step(send=parse_template("one")),)
    )
    tunnel = signature("tunnel", probes=(two,), replies=(reply("tunnel", "hint", "^TAB", Confidence.GUESS),))
    script = Script([["silent", b"TAB", CLOSED], *[[CLOSED]] * times, *[[b"WELCOME", "silent", b"ME"]] * 2])
    answer = play(script, question(), catalogue=SignatureSet([tunnel, signature("one", probes=(first,))]))
    assert sum("<< tunnel/open: HELLO" in line for line in script.lines) == 2, script.lines
    assert (("tunnel", "confirmed") in labels(answer)) == (times == 1), script.lines


def test_a_lost_datagram_is_sent_once_more():
    script = Script([["silent"] * 5], rtt_s=None)
    answer = play(script, question("10.0.0.9:53/udp"))
    assert sum(line.startswith("<< dns/root:") for line in script.lines) == 2
    assert answer.datagrams <= 5
    assert answer.outcome is Outcome.SILENT
    assert script.now_s - 100 <= 3.0


def test_port_unreachable_ends_it():
    answer = play(Script([[Ended(0, Outcome.REFUSED, "refused")]], rtt_s=None), question("10.0.0.9:53/udp"))
    assert answer.outcome is Outcome.REFUSED


def test_junk_datagrams_do_not_hold_us():
    script = Script([[b"junk"] * 100_000], rtt_s=0.001)
    answer = play(script, question("10.0.0.9:53/udp"))
    assert answer.outcome is Outcome.ANSWERED
    assert script.now_s - 100 <= 3.1


# -- several connections ----------------------------------------------------------------------------------------


def test_skype_over_tcp_in_three_connections_the_first_being_the_get_of_everyone():
    bare = b"HTTP/1.0 404 Not Found\r\n\r\n"
    script = Script([["silent", bare, CLOSED], [b"0123456789abcdef"], [b"fedcba9876543210"]])
    answer = play(script, question())
    assert ("skype", "likely") in labels(answer)
    assert answer.connections == 3


def test_the_same_answer_twice_is_no_skype():
    bare = b"HTTP/1.0 404 Not Found\r\n\r\n"
    script = Script([["silent", bare, CLOSED], [b"0123456789abcdef"], [b"0123456789abcdef"]])
    assert ("skype", "likely") not in labels(play(script, question()))


# -- hostile ----------------------------------------------------------------------------------------------------


def test_an_endless_banner_is_cut():
    script = Script([[b"x" * 65536] * 1000] * 9)
    answer = play(script, question())
    assert answer.outcome is Outcome.ANSWERED
    assert all(len(one.data) <= 256 for one in answer.evidence)
    assert answer.connections <= 5


def test_a_slow_drip_ends_in_time():
    script = Script([[b"x"] * 1_000_000] * 9, rtt_s=0.01)
    answer = play(script, question())
    assert answer.outcome is Outcome.ANSWERED
    assert script.now_s - 100 <= 3.2


@pytest.mark.parametrize("size", range(0, 60, 7))
def test_a_reply_cut_anywhere_and_closed(size):
    whole = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\r\n" + b"y" * 20
    answer = play(Script([["silent", whole[:size] or CLOSED, CLOSED], *[[CLOSED]] * 9]), question())
    assert answer.outcome is (Outcome.ANSWERED if size else Outcome.CLOSED)


def test_a_reply_byte_by_byte_gives_what_it_gives_whole():
    whole = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\r\n"
    answer = play(Script([["silent", *[whole[i : i + 1] for i in range(len(whole))]]]), question())
    assert labels(answer) == [("http", "confirmed")]


def test_evidence_is_told_as_it_is_found():
    told = []
    answer = play(Script([[b"220 hello\r\n", "silent", b"211-x\r\n"]]), question(), note=told.append)
    assert tuple(told) == answer.evidence


# -- TLS by hint (handshakes themselves: test_exchange) ---------------------------------------------------------


@pytest.mark.parametrize(
    "hints",
    [
        {"initiator_bytes": bytes.fromhex("1603010200010001fc0303")},
        {"responder_bytes": bytes.fromhex("160303007a020000760303")},
        {"alpn": ("h2",)},
        {"candidates": ("tls",)},
    ],
)
def test_a_flow_that_showed_tls_is_asked_for_tls_first(hints):
    script = Script([[b"\x15\x03\x03\x00\x02\x02\x28", CLOSED]] * 3)
    answer = play(script, question(**hints))
    assert script.lines[0] == "<< connect for tls"
    assert labels(answer) == [("tls", "confirmed")]


def test_where_no_hello_was_seen_all_names_are_offered():
    def offered(hello: bytes) -> bytes:
        hellos.append(hello)
        return b"\x15\x03\x03\x00\x02\x02\x78"  # no_application_protocol

    hellos: list[bytes] = []
    script = Script([[offered, CLOSED]] * 5)
    play(script, question(candidates=("tls",), midstream=True))
    assert b"\x08http/1.1\x04imap" in hellos[0]
    assert b"\x02h2" not in hellos[0]
    assert b"\x02h2\x08http/1.1" in hellos[1]
    assert b"http/1.1" not in hellos[2]
    assert len(hellos) == 3


def test_a_dialogue_tidies_up_after_it_was_confirmed() -> None:
    tidy = ProbeSpec(
        service="tunnel", name="open", transport=UDP, rarity=2,
        steps=(
            Step(send=parse_template("HELLO"), expect=Condition(pattern="^WELCOME")),
            Step(send=parse_template("CLOSE")),
        ),
    )  # fmt: skip
    signatures = SignatureSet([signature("tunnel", probes=(tidy,), replies=(reply("tunnel", "opened", "^WELCOME"),))])
    script = Script([[b"WELCOME"]], rtt_s=None)
    answer = play(script, question("10.0.0.9:1701/udp"), catalogue=signatures)
    assert labels(answer) == [("tunnel", "confirmed")]
    assert answer.datagrams == 2
    assert script.lines[-2] == "<< tunnel/open: CLOSE"


def test_a_tarpit_is_named_and_given_up():
    script = Script([[b"2`BZe25S+it\r\n"], [b"l:a|jKk|\r\n"], [b"x%\r\n"], [b"7&2\r\n"], [b"oo\r\n"], [b"p0\r\n"]])
    answer = play(script, question())
    assert labels(answer) == []
    assert any(one.signature == "tarpit" for one in answer.evidence)
    assert answer.connections <= 5
