"""UDP's sides; calls whose media is waited for."""

from .fakes import GET, Conversation


def test_zeros_over_udp_are_payload(real):
    """UDP's header says how long its payload is: NAT-PMP asks for the address with two zeros."""
    talk = Conversation(real, protocol=17, server_port=5351).send(b"\x00\x00")
    assert talk.best == ("nat-pmp", "likely")


def test_udp_sides_agree(reader):
    talk = Conversation(reader, protocol=17).send(b"OPTIONS sip:a@b SIP/2.0\r\n")
    assert talk.best == ("sip", "likely")
    assert talk.answer(b"SIP/2.0 200 OK\r\n").best == ("sip", "confirmed")


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
