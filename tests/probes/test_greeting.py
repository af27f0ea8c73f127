import pytest

from flowsonar.probes.greeting import split_greeting


@pytest.mark.parametrize(
    ("data", "greeting"),
    [
        (b"", b""),
        (b"+OK ready", b"+OK ready"),
        (b"+OK ready\r\n", b"+OK ready\r\n"),
        (b"+OK ready\r\n-ERR Unknown command\r\n", b"+OK ready\r\n"),
        (b"220 (vsFTPd 3.0.3)\r\n530 Please login\r\n", b"220 (vsFTPd 3.0.3)\r\n"),
        (b"220-a\r\n220-b\r\n220 c\r\n530 d\r\n", b"220-a\r\n220-b\r\n220 c\r\n"),
        (b"220-a\r\n 220\r\n220 c\r\n530 d\r\n", b"220-a\r\n 220\r\n220 c\r\n"),
        (b"220-a\r\n220-b\r\n", b"220-a\r\n220-b\r\n"),
        (b"220-a\r\n220-b\r\n220 c", b"220-a\r\n220-b\r\n220 c"),
        (b"220-" + b"a\n" * 1000, b"220-" + b"a\n" * 65),
        (b"\n", b"\n"),
        (b"SSH-2.0-x\r\n\x00\x00\x01", b"SSH-2.0-x\r\n"),
    ],
)
def test_where_a_greeting_ends(data, greeting):
    assert split_greeting(data) == (greeting, data[len(greeting) :])
