"""JA4 against the worked example of FoxIO's specification."""

from flowsonar.protocols.ja4 import ja4
from flowsonar.protocols.tls import read_first_flight

from .hellos import client_hello

CIPHERS = "1301 1302 1303 c02b c02f c02c c030 cca9 cca8 c013 c014 009c 009d 002f 0035"
EXTENSIONS = "001b 0033 4469 0017 002d 000b 0023 0005 0012 ff01 0015 000a"
ALGORITHMS = "0403 0804 0401 0503 0805 0501 0806 0601"


def _numbers(text):
    return tuple(int(one, 16) for one in text.split())


def test_worked_example():
    hello = client_hello(
        name="example.org",
        alpn=("h2", "http/1.1"),
        versions=(0x1A1A, 0x0304, 0x0303),
        ciphers=(0x2A2A, *_numbers(CIPHERS)),
        extra=(0x3A3A, *_numbers(EXTENSIONS), 0x4A4A),
        algorithms=_numbers(ALGORITHMS),
    )
    assert ja4(read_first_flight(hello)) == "t13d1516h2_8daaf6152771_e5627efa2ab1"


def test_a_bare_hello():
    hello = client_hello(ciphers=(0x0035,), algorithms=())
    text = ja4(read_first_flight(hello))
    assert text.startswith("t12i010000_")
    assert text.endswith("_000000000000")


def test_alpn_that_is_not_text_gives_hex_digits():
    hello = client_hello(alpn=("\x7fz~",))
    assert ja4(read_first_flight(hello))[8:10] == "7e"


def test_transport_letter():
    assert ja4(read_first_flight(client_hello()), "q").startswith("q")
