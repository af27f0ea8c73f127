import pytest

from flowsonar.signatures.itself import called_by_itself


def http(server: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nDate: x\r\nServer: {server}\r\n\r\nServer: body/1.0\r\n".encode("latin-1")


@pytest.mark.parametrize(
    ("said", "product", "version"),
    [
        ("rclone/v1.60.1-DEV", "rclone", "1.60.1-DEV"),
        ("monit 5.33.0", "monit", "5.33.0"),
        ("thin", "thin", None),
        ("WebSockify Python/3.11.2", "WebSockify", None),
        ("ZNC 1.8.2+deb3.1+deb12u2 - https://znc.in", "ZNC", "1.8.2+deb3.1+deb12u2"),
        ("proxy.py v2.4.10", "proxy.py", "2.4.10"),
        ("Python/3.11 websockets/17.4", "websockets", "17.4"),
        ("WsgiDAV/4.4.0 Cheroot/11.1.2 Python/3.11.7", "WsgiDAV", "4.4.0"),
        ("Some Small Server", "Some Small Server", None),
        ("Netdata Embedded HTTP Server v1.37.1", "Netdata Embedded HTTP Server", "1.37.1"),
        ("Name (Unix)", "Name", None),
        ("Debian DLNADOC/1.50 UPnP/1.0 MiniDLNA/1.3.0", "MiniDLNA", "1.3.0"),
        ("Linux/6.1, UPnP/1.0, gerbera/1.12.1", "gerbera", "1.12.1"),
    ],
)
def test_web_servers(said, product, version):
    known = called_by_itself("http", http(said))
    assert known is not None
    assert (known.product, known.version, known.cpe) == (product, version, None)


@pytest.mark.parametrize(
    ("said", "product", "version"),
    [
        (b"SSH-2.0-rclone/v1.60.1-DEV\r\n", "rclone", "1.60.1-DEV"),
        (b"SSH-2.0-lshd-2.1 lsh - a GNU ssh\r\n", "lshd", "2.1"),
        (b"SSH-2.0-Go\r\n", "Go", None),
    ],
)
def test_ssh_servers(said, product, version):
    known = called_by_itself("ssh", said)
    assert known is not None
    assert (known.product, known.version) == (product, version)


@pytest.mark.parametrize(
    ("service", "data"),
    [
        ("http", b"HTTP/1.1 200 OK\r\n\r\nServer: body/1.0\r\n"),
        ("http", http("???")),
        ("http", http("")),
        ("ssh", b"SSH-2.0-\r\n"),
        ("ftp", b"220 Server: name/1.0\r\n"),
        ("http", b""),
    ],
)
def test_where_nothing_is_said(service, data):
    assert called_by_itself(service, data) is None


def test_long_fields_are_cut():
    known = called_by_itself("http", http("a" * 5000))
    assert known is None or len(known.product or "") <= 32
