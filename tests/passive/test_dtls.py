import pytest

from flowsonar.passive import PassiveReader
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher
from tests.protocols.test_dtls import CLIENT, CLIENT_13, SERVER_13, VERIFY

from .fakes import Conversation, opened


@pytest.fixture(scope="module")
def real():
    signatures = load_signatures()
    return PassiveReader(Matcher(signatures, engine="re2"), signatures)


def talk(real):
    return Conversation(real, opened(protocol=17, server_port=46000))


def test_a_hello_gives_name_and_fingerprint(real):
    said = talk(real).send(CLIENT)
    assert said.best == ("dtls", "likely")
    assert said.flow.name == "media.example"
    detail = said.evidence[0].detail
    assert detail.startswith("ClientHello, DTLS 1.2, SNI media.example, use_srtp")
    assert "JA4 dd2d2808" in detail


@pytest.mark.parametrize(("client", "server"), [(CLIENT, VERIFY), (CLIENT_13, SERVER_13)])
def test_the_answer_confirms(real, client, server):
    said = talk(real).send(client).answer(server)
    assert said.best == ("dtls", "confirmed")


def test_a_server_hello_says_its_version(real):
    said = talk(real).send(CLIENT_13).answer(SERVER_13)
    assert "ServerHello, DTLS 1.3, cipher 13" in said.evidence[-1].detail


@pytest.mark.parametrize("hello", [CLIENT, SERVER_13])
def test_a_hello_after_stun_is_enough_in_one_direction(real, hello):
    said = talk(real).send(bytes.fromhex("000100002112a442") + bytes(range(12))).send(hello)
    assert said.best == ("dtls", "confirmed")
