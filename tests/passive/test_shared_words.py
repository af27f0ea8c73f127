"""Words that two protocols say alike, met in the middle of a flow: neither is believed on a port that tells nothing."""

import pytest

from .fakes import Conversation

LEAVE = b"\x01\x00\x00\x00\x01"
"""COM_QUIT of MySQL's classic protocol, CapabilitiesGet of its X protocol."""


def named(talk):
    return {one.service for one in talk.evidence if one.confidence.rank >= 2}


@pytest.mark.parametrize("said", [b"DELETED\r\n", b"NOT_FOUND\r\n", b"TOUCHED\r\n"])
def test_what_beanstalkd_says_too_is_memcached_on_its_port_only(real, said):
    assert not named(Conversation(real, server_port=21044, midstream=True).answer(said))
    assert not named(Conversation(real, server_port=21044).send(b"delete 1\r\n").answer(said))
    assert named(Conversation(real, server_port=11211, midstream=True).answer(said)) == {"memcached"}


def test_a_client_of_mysql_that_leaves_asks_for_no_capabilities(real):
    assert not named(Conversation(real, server_port=21010, midstream=True).send(LEAVE))
    assert named(Conversation(real, server_port=33060).send(LEAVE)) == {"mysqlx"}
