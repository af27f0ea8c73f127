"""Services spoken in the format of another: asked on after that one is proven, the body waited for."""

import pytest

from flowsonar.model import Confidence
from flowsonar.signatures.catalogue import SignatureSet
from flowsonar.signatures.language import Step
from flowsonar.signatures.templates import parse_template
from tests.probes.world import (
    GUESS,
    LIKELY,
    SIGNATURES,
    TCP,
    Condition,
    ProbeSpec,
    Script,
    play,
    probe,
    question,
    reply,
    same,
    signature,
)

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n"


def ask(service: str, path: str, answer: str) -> ProbeSpec:
    step = Step(send=parse_template(rf"GET {path} HTTP/1.1\r\n\r\n"), expect=Condition(pattern=answer))
    return ProbeSpec(service=service, name="ask", transport=TCP, steps=(step,), confidence=Confidence.CONFIRMED)


FAMILY = SignatureSet(
    [
        *SIGNATURES.services.values(),
        signature(
            "docker", parent="http", ports=((TCP, (2375,)),),
            probes=(probe("docker", "ping", r"GET /_ping HTTP/1.1\r\n"),),
            replies=(
                reply("docker", "page", r"^HTTP/1\.1 404 (?s:.*)go page", GUESS),
                reply("docker", "version", r"^HTTP/1\.1 (?s:.*)Docker/\d"),
            ),
        ),
        signature(
            "etcd", parent="http", probes=(ask("etcd", "/version", r"^HTTP/1\.1 (?s:.*)etcdserver"),),
            replies=(
                reply("etcd", "page", r"^HTTP/1\.1 404 (?s:.*)go page", GUESS),
                reply("etcd", "likely", r"^HTTP/1\.1 (?s:.*)perhaps etcd", LIKELY),
            ),
        ),
        signature(
            "third", parent="http", probes=(probe("third", "ask", r"GET /third HTTP/1.1\r\n"),),
            replies=(reply("third", "page", r"^HTTP/1\.1 404 (?s:.*)go page", GUESS),),
        ),
    ]
)  # fmt: skip


def best(answer):
    return {(one.service, one.confidence.value) for one in answer.evidence if one.confidence is not GUESS}


def test_the_body_tells_what_the_head_does_not():
    script = Script([["silent", NOT_FOUND, b"Docker/24"]])
    answer = play(script, question(), catalogue=FAMILY)
    assert best(answer) == {("docker", "confirmed"), ("http", "confirmed")}
    assert answer.connections == 1


def test_a_guess_is_enough_to_put_the_questions_of_the_children_two_at_most():
    page = NOT_FOUND + b"go page\r\n"
    script = Script([["silent", page], [page], [page], [page]])
    answer = play(script, question(), catalogue=FAMILY)
    same(script, """
        << connect for listen
        >> nothing
        << http/get: GET / HTTP/1.1|Host: 10.0.0.9||
        >> HTTP/1.1 404 Not Found|Content-Length: 9||go page|
        << connect for docker/ping
        << docker/ping: GET /_ping HTTP/1.1|
        >> HTTP/1.1 404 Not Found|Content-Length: 9||go page|
        << connect for etcd/ask
        << etcd/ask: GET /version HTTP/1.1||
        >> HTTP/1.1 404 Not Found|Content-Length: 9||go page|
        << close
    """)  # fmt: skip
    assert best(answer) == {("http", "confirmed")}


def test_a_dialogue_of_a_child_goes_through_though_its_parent_is_proven():
    page = NOT_FOUND + b"perhaps etcd"
    script = Script([["silent", page], [b"HTTP/1.1 200 OK\r\n\r\netcdserver"]])
    answer = play(script, question(), catalogue=FAMILY)
    assert ("etcd", "confirmed") in best(answer)
    assert answer.connections == 2


@pytest.mark.parametrize("port", [2375, 8080])
def test_nothing_more_is_asked_of_who_points_to_no_child(port):
    page = b"HTTP/1.1 200 OK\r\nServer: nginx/1\r\n\r\n"
    script = Script([[page] if port == 2375 else ["silent", page]] * 3)
    answer = play(script, question(f"10.0.0.9:{port}"), catalogue=FAMILY)
    assert best(answer) == {("http", "confirmed")}
    assert len([line for line in script.lines if "<< docker" in line]) == (port == 2375)
