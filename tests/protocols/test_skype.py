"""Skype's shapes: bytes measured in the recorded client of 2006 (facts A3, A4), and what is near but not it."""

import pytest

from flowsonar.protocols import skype

PROBE = bytes.fromhex("15f202e2b459e6644a654d81763ac9dbf536")
NACK = bytes.fromhex("15f2775680f57324499eb8")
AGAIN = bytes.fromhex("15f20301") + bytes.fromhex("24499eb8") + bytes([165, 124, 253, 241]) + PROBE[7:18]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("15f202e2b459e6644a654d81763ac9dbf536", ("identifier 15f2, function 02 (payload), noise 00, IV e2b459e6,"
         " CRC 644a654d, 7 bytes enciphered")),
        ("15f2775680f57324499eb8", ("identifier 15f2, function 07 (negative acknowledgement), noise 70,"
         " the requester's address 86.128.245.115, token 24499eb8")),
        ("a77c2582754846422d4460", ("identifier a77c, function 05 (acknowledgement), noise 20,"
         " the requester's address 130.117.72.70, token 422d4460")),
        ("15f2030124499eb8c0a80102644a654d81", ("identifier 15f2, function 03 (sent again), noise 00, count 1,"
         " token 24499eb8, to 192.168.1.2, CRC 644a654d")),
        ("99010f15f281020011223344", ("identifier 9901, function 0f (fragment), noise 00, answers identifier 15f2,"
         " fragment 1, the last")),
        ("99014d", "identifier 9901, function 0d (media), noise 40"),
        ("9901", "too short for a start of message"),
        ("990106", "identifier 9901, function 06 (not known), noise 00"),
    ],
)  # fmt: skip
def test_a_start_of_message_is_told_for_people(data: str, told: str) -> None:
    assert skype.describe(bytes.fromhex(data)) == told
    assert all(skype.describe(bytes.fromhex(data)[:length]) for length in range(len(data) // 2))


def test_a_probe_and_its_negative_reply():
    assert len(PROBE) == 18
    assert skype.is_payload(PROBE)
    assert skype.function(NACK) == skype.NACK
    assert skype.is_reply_to(NACK, PROBE)
    assert not skype.is_reply_to(NACK[:10], PROBE)
    assert not skype.is_reply_to(b"\x15\xf3" + NACK[2:], PROBE)
    assert not skype.is_reply_to(NACK[:2] + b"\x87" + NACK[3:], PROBE)  # bit 0x80 counts


def test_sent_again():
    assert skype.is_resend_of(AGAIN, PROBE, 18, 23)
    assert not skype.is_resend_of(AGAIN, PROBE, 18, 24)
    assert not skype.is_resend_of(AGAIN[:12] + b"0000" + AGAIN[16:], PROBE, 18, 23)
    assert not skype.is_resend_of(AGAIN[:10], PROBE, 18, 23)


def test_repeated_under_another_iv():
    one = bytes.fromhex("162702a23be7ae74208dba") + bytes(range(19))
    two = bytes.fromhex("1627022526a0fb74208dba") + bytes(range(100, 119))
    assert skype.repeats(two, one)
    assert not skype.repeats(one, one)
    assert not skype.repeats(two[:7] + b"abcd" + two[11:], one)
    assert not skype.repeats(two[:11] + one[11:], one)  # a constant rest is not enciphered


def test_fragments():
    request = bytes.fromhex("167202ee7d65dcc5142f94") + bytes(20)
    fragment = bytes.fromhex("e91e1f167200020f0ab9c9") + bytes(20)
    assert skype.is_fragment_of(fragment, request)
    assert not skype.is_fragment_of(fragment, b"\x16\x73" + request[2:])


def test_tcp_handshake_messages_are_read_without_a_key():
    first = bytes.fromhex("b980743e5c0f8634e36e1cc28034")
    assert skype.answers_handshake(first, bytes.fromhex("5b0fb32c"))
    assert skype.answers_handshake(bytes.fromhex("c515c0ee44ee1dafbde1d0cf928a"), bytes.fromhex("43eef20b"))
    assert not skype.answers_handshake(first, bytes.fromhex("5b10b32c"))
    assert not skype.answers_handshake(first[:13], bytes.fromhex("5b0fb32c"))
    plain = bytes.fromhex("30160613f201")
    second = bytes(a ^ b ^ c for a, b, c in zip(plain, first[4:], bytes.fromhex("000100000001"), strict=False))
    assert skype.continues_handshake(first, second)
    assert not skype.continues_handshake(first, second[:5])


@pytest.mark.parametrize(
    ("target", "host", "agent", "kind"),
    [
        ("http://ui.skype.com/ui/2/1.2.0.18/en/getlatestversion?ver=1", "ui.skype.com", None, "version check"),
        ("/ui/0/97/en/installed", "ui.skype.com", "Skype 2.0", "report of the installation"),
        ("/ui/0/97/en/getlatestversion?ver=1", "proxy.example", "Skype 1.4", "version check"),
        ("/ui/0/97/en/getlatestversion?ver=1", "example.org", "curl/8", None),
        ("/ui/0/97/en/getlatestversion?ver=1", "notskype.com", None, None),
        ("/index.html", "ui.skype.com", "Skype 1.4", None),
        ("http://ui.skype.com", "ui.skype.com", None, None),
    ],
)  # fmt: skip
def test_http_requests(target, host, agent, kind):
    assert skype.http_request_kind(target, host, agent) == kind


def test_constants_have_the_lengths_of_the_paper():
    assert len(skype.TLS_CLIENT_HELLO) == 56
    assert len(skype.TLS_SERVER_HELLO) == 79
    assert len(skype.BARE_404) == 26


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc"])
def test_short_datagrams(data):
    assert not skype.is_payload(data)
    assert not skype.is_reply_to(data, PROBE)
    assert not skype.is_fragment_of(data, PROBE)
    assert not skype.is_resend_of(data, PROBE, 18, 23)
    assert skype.function(data) in {-1, ord("c") & 0x8F}
