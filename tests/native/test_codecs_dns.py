"""dns.c says what protocols/dns.py says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar._native import core
from flowsonar.errors import MalformedError
from flowsonar.protocols import dns
from tests.needs import needs_native

pytestmark = needs_native()

ADDRESSES_MAX = 32
QUERY = bytes.fromhex("a1b2 0100 0001 0000 0000 0000") + b"\x07example\x03net\x00\x00\x01\x00\x01"
ANSWER = (
    bytes.fromhex("a1b2 8180 0001 0003 0000 0000")
    + QUERY[12:]
    + bytes.fromhex("c00c 0005 0001 0000012c 0004")
    + b"\x01w\xc0\x0c"
    + bytes.fromhex("c029 0001 0001 0000012c 0004 c0000201")
    + bytes.fromhex("c00c 001c 0001 0000012c 0010 20010db8000000000000000000000001")
)
SAMPLES = [
    QUERY,
    ANSWER,
    ANSWER[:6] + b"\0\x40" + ANSWER[8:] + ANSWER[-28:] * 61,
    bytes.fromhex("0001 0000 0001 0000 0000 0000 c00c 0001 0001"),
    bytes.fromhex("0001 8404 0000 0000 0000 0000"),
    bytes.fromhex("0001 8580 0001 0000 0000 0000") + (b"\x3f" + b"a" * 63) * 4 + b"\x00\x00\x01\x00\x01",
    bytes.fromhex("0001 8580 0001 0000 0000 0000")
    + (b"\x3f" + b"a" * 63) * 3
    + b"\x3e"
    + b"b" * 62
    + bytes(1)
    + b"\0\x01" * 2,
]


def python(data):
    try:
        message = dns.read_message(data)
    except MalformedError:
        return False
    question = message.question and (message.question[0].encode("latin-1"), *message.question[1:])
    addresses = [(name.encode("latin-1"), value) for name, value in message.addresses]
    more = len(addresses) > ADDRESSES_MAX
    return (*message[:3], question, addresses[:ADDRESSES_MAX], more, message.complete)


def agree(data):
    assert core.codec_dns_looks(data) == (dns.question_end(data), dns.tcp_message(data) or None)
    assert core.codec_dns_message(data) == python(data)


@pytest.mark.parametrize("data", SAMPLES)
def test_at_every_length(data):
    for cut in range(len(data) + 1):
        agree(data[:cut])
        agree(cut.to_bytes(2, "big") + data)
    agree(data + b"more")


def test_recorded_payloads(recorded):
    found = 0
    for protocol, _, data in recorded:
        agree(data)
        if protocol == 6:
            agree(data[2:])
        found += dns.question_end(data) > 0
    assert found > 500


def test_recorded_messages_cut_and_changed(recorded, chance):
    messages = [data for _, _, data in recorded if dns.question_end(data)]
    for data in chance.sample(messages, 150):
        for cut in range(0, len(data), 1 + len(data) // 100):
            agree(data[:cut])
        for _ in range(30):
            changed = bytearray(data)
            changed[chance.randrange(len(data))] = chance.choice((0, 1, 12, 63, 64, 192, 255))
            agree(bytes(changed))


def test_answers_of_recorded_queries(recorded, chance):
    messages = [data for _, _, data in recorded if dns.question_end(data)]
    for query in chance.sample(messages, 300):
        end = dns.question_end(query)
        shouted = bytes(query[:2]) + b"\x81\x80" + query[4:12] + query[12:end].upper()
        others = [shouted, shouted[:-1], shouted[:12], shouted[:4] + bytes(8), chance.choice(messages)]
        for response in [query, bytes([query[0], query[1], query[2] | 0x80]) + query[3:], *others]:
            assert core.codec_dns_agrees(query[:end], response, end) == dns.agrees(query[:end], response, end)


@given(st.binary(max_size=100), st.sampled_from([b"", QUERY[:12], ANSWER[:12], ANSWER[:29], ANSWER]))
def test_any_bytes(rest, begin):
    agree(begin + rest)
