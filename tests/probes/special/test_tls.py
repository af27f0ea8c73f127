import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.probes.special import tls
from flowsonar.probes.special.tls import TlsClient, looks_like_tls, prepare, suggests_tls
from tests.probes.special.peer import TlsServer, server_context


def shake(client: TlsClient, server: TlsServer, piece: int = 1 << 20) -> None:
    for _ in range(10):
        client.handshake()
        server.feed(client.outgoing())
        data = server.outgoing()
        for start in range(0, len(data), piece):
            client.feed(data[start : start + piece])
            client.handshake()


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_facts_of_a_handshake(piece):
    client = TlsClient("lab.example", ("imap", "http/1.1"))
    shake(client, TlsServer(context=server_context(alpn=("http/1.1",))), piece)
    assert client.done
    assert client.is_tls
    facts = client.facts()
    assert (facts.version, facts.alpn) == ("TLSv1.3", "http/1.1")
    assert facts.names == ("lab.example", "www.lab.example")
    assert "lab.example" in facts.line()


def test_many_names_are_cut_and_none_falls_back_to_the_common_name():
    client = TlsClient()
    shake(client, TlsServer(context=server_context(names=tuple(f"n{number}.example" for number in range(50)))))
    assert len(client.facts().names) == tls.CERTIFICATE_NAMES
    client = TlsClient()
    shake(client, TlsServer(context=server_context(names=())))
    assert client.facts().names == ("common.example",)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_our_certificate_is_tls_all_the_same(version):
    context = server_context(client_certificate=True)
    context.minimum_version = context.maximum_version = version
    client = TlsClient()
    shake(client, TlsServer(context=context))
    client.read(100)
    assert client.is_tls
    assert client.ended or client.done
    assert client.bars is (version is ssl.TLSVersion.TLSv1_3)


def test_no_common_protocol_is_an_alert_and_still_tls():
    context = server_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("PSK-AES128-CBC-SHA256")
    client = TlsClient()
    shake(client, TlsServer(context=context))
    assert not client.done
    assert client.alert == 40  # handshake_failure, RFC 5246 section 7.2.2
    assert client.is_tls
    assert client.problem


@pytest.mark.parametrize("name", ["", ".", "-x", "a..b", "x" * 300, "höst", "a\0b", "10.0.0.1", "::1", "fine.example."])
def test_any_server_name_is_survived(name):
    client = TlsClient(name, ("", "x" * 300, "h2", "ü"))
    client.handshake()
    assert client.outgoing()[:1] == b"\x16"
    assert not client.problem


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(data):
    client = TlsClient()
    client.handshake()
    client.outgoing()
    client.feed(data)
    client.handshake()
    client.read(100)
    client.end()
    client.handshake()
    assert not client.done


@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_handshake_with_broken_bytes_never_raises(changes):
    client, server = TlsClient("lab.example"), TlsServer()
    client.handshake()
    server.feed(client.outgoing())
    answer = bytearray(server.outgoing())
    for place, value in changes:
        answer[place % len(answer)] = value
    client.feed(bytes(answer))
    client.handshake()
    client.outgoing()
    client.read(10)


def test_an_endless_handshake_is_cut():
    client = TlsClient()
    client.handshake()
    record = b"\x16\x03\x03\x40\x00" + b"\x02\x00\xff\xff" + b"\0" * 0x3FFC
    for _ in range(100):
        client.feed(record)
        if client.handshake() or client.ended:
            break
    assert client.ended
    assert client.received <= tls.HANDSHAKE_BYTES + len(record)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("15030100020228", True), ("15030300020100", True), ("15030300020328", False), ("16030100750100", True),
        ("16030300750200", True), ("16030300750300", False), ("17030300020228", False), ("16040100750100", False),
        ("16", False), ("", False), ("474554202f2048", False),
    ],
)  # fmt: skip
def test_what_looks_like_tls(data, expected):
    assert looks_like_tls(bytes.fromhex(data)) is expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n<title>400 The plain HTTP request was sent to HTTPS port</title>", True),
        (b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", True),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", False),
        (b"plain HTTP", False),
        (b"421 TLS handshake failed\r\n", True),
        (b"421 too many connections\r\n", False),
    ],
)
def test_what_suggests_tls(data, expected):
    assert suggests_tls(data) is expected


def test_prepare_loads_what_handshakes_need():
    prepare()
    assert "cryptography.x509" in __import__("sys").modules
