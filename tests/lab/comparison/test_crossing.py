"""Every question to every program: whose claims count, and what is told of them."""

import asyncio
import json

import pytest
from lab.comparison.crossing import Place, Told, _Crossing, claims, read_told

from flowsonar.model import Layer, Transport
from flowsonar.signatures.matcher import Reply
from lab.catalogue import crossed
from tests.probes.sockets import tcp_server
from tests.probes.world import SIGNATURES, matcher

WEB = Place(name="web", transport="tcp", address="127.0.0.1", port=1, service="http")
PAGE = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\r\n"


def _claimed(place: Place, data: bytes, over: Layer | None = None) -> list[str]:
    reply = Reply(
        probe="redis/ping", step=0, data=data, transport=Transport.TCP, sent={}, message=b"PING\r\n", over=over
    )
    return [match.service for match in claims(matcher(), SIGNATURES, place, reply)]


@pytest.mark.parametrize(
    ("service", "layers", "data", "expected"),
    [
        ("http", (), PAGE, []),
        ("redis", (), PAGE, ["http"]),
        ("redis", ("http",), PAGE, []),  # what it runs inside is as true
        ("redis", ("tls",), b"\x15\x03\x03\x00\x02\x02\x28", []),
        ("http", (), b"nothing that anybody knows", []),
    ],
)
def test_claims_are_those_of_other_services(service, layers, data, expected):
    place = Place(name="one", transport="tcp", address="127.0.0.1", port=1, service=service, layers=layers)
    assert _claimed(place, data) == expected


def test_a_server_that_answers_as_another_service_is_told():
    async def liar(reader, writer):
        await reader.read(100)
        writer.write(PAGE)

    async def ask():
        async with tcp_server(liar) as endpoint:
            place = Place(name="liar", transport="tcp", address="127.0.0.1", port=endpoint.port, service="redis")
            crossing = _Crossing(place, SIGNATURES, matcher())
            await crossing.ask()
            return crossing.told

    told = asyncio.run(ask())
    assert told.asked == told.answered == len(told.foreign) > 3
    assert {claim[1] for claim in told.foreign} == {"http"}
    assert not crossed.passes([told])
    lines = crossed.summary([told], {"other": "did not start"})
    assert lines[0] == "other: did not start"
    assert lines[-1].endswith(f"claimed by another service: {told.asked}, {told.asked} of them confirmed")


def test_what_is_true_of_an_endpoint_as_well_is_no_fault():
    znc = Told(
        name="znc", asked=9, answered=9, foreign=[["irc/nick", "irc", "confirmed", "irc/numeric", ":irc.znc.in"]]
    )
    assert crossed.passes([znc])
    assert not crossed.passes([Told(name="web", asked=9, answered=9, foreign=znc.foreign)])
    assert crossed.passes([Told(name="web", asked=9, answered=9, foreign=[["a/b", "irc", "likely", "c", ""]])])
    assert not crossed.passes([Told(name="web", asked=9)])  # nothing was answered at all


def test_told_comes_back_as_it_was_printed():
    line = json.dumps({"name": "web", "asked": 3, "answered": 2, "foreign": []})
    assert read_told(["a warning", line]) == [Told(name="web", asked=3, answered=2)]
