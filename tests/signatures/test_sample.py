from flowsonar.model import Endpoint, Transport
from flowsonar.signatures import load_signatures
from flowsonar.signatures.sample import first_message, shown

SIGNATURES = load_signatures()


def test_every_probe_has_a_first_message_or_none() -> None:
    for signature in SIGNATURES.services.values():
        for probe in signature.probes:
            for address in ("192.0.2.1", "fe80::1%eth0"):
                message = first_message(probe, Endpoint(probe.transport, address, 80), "a.example")
                assert message is None or isinstance(message, bytes)


def test_http_asks_for_the_root() -> None:
    (get,) = (probe for probe in SIGNATURES.services["http"].probes if probe.id == "http/get")
    message = first_message(get, Endpoint(Transport.TCP, "192.0.2.1", 80))
    assert message is not None
    assert message.startswith(b"GET / HTTP/1.0\r\n")
    assert shown(message).startswith(f'{len(message)} bytes "GET / HTTP/1.0\\r\\n')


def test_bytes_are_shown_as_plain_text() -> None:
    assert shown(b"\x1b[2J\xff") == '5 bytes "\\x1b[2J\\xff"'
