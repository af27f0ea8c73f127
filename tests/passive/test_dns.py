"""A response is held against its query, over UDP and TCP."""

import pytest

from .fakes import ANSWER, QUERY, Conversation


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
