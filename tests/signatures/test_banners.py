import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.signatures.banners import SERVICES, fields_of

HTTP = (
    b'HTTP/1.1 401 Unauthorized\r\nServer:  nginx/1.2 \r\nx-powered-by: PHP/8\r\nWWW-Authenticate: Basic realm="r"\r\n'
    b"Set-Cookie: a=1; path=/\r\nset-cookie: b=2\r\n\r\n<html><title>\n Sign in &amp; go </title>Server: no\r\n"
)
SNMP = bytes.fromhex("302902010004067075626c6963a21c020101020100020100301130") + b"\x0f\x06\x08"


@pytest.mark.parametrize(
    ("service", "data", "fields"),
    [
        ("ssh", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\nmore", [("ssh.banner", b"OpenSSH_9.2p1 Debian-2")]),
        ("ftp", b"220 (vsFTPd 3.0.3)\r\n", [("ftp.banner", b"(vsFTPd 3.0.3)")]),
        (
            "ftp",
            b"220-Welcome\r\n220 Sample\r\n530 no\r\n",
            [("ftp.banner", b"Welcome\r\nSample"), ("ftp.banner", b"Welcome"), ("ftp.banner", b"Sample")],
        ),
        ("ftp", b"530 no\r\n", []),
        ("smtp", b"220 mail.example ESMTP Postfix\r\n", [("smtp.banner", b"mail.example ESMTP Postfix")]),
        ("pop3", b"+OK Dovecot ready.\r\n", [("pop3.banner", b"Dovecot ready.")]),
        (
            "imap",
            b"* OK [CAPABILITY IMAP4rev1] Dovecot ready.\r\n",
            [("imap4.banner", b"[CAPABILITY IMAP4rev1] Dovecot ready."), ("imap4.banner", b"Dovecot ready.")],
        ),
        ("nntp", b"200 news ready\r\n", [("nntp.banner", b"news ready")]),
        (
            "http",
            HTTP,
            [
                ("http_header.server", b"nginx/1.2"),
                ("http_header.x-powered-by", b"PHP/8"),
                ("http_header.wwwauth", b'Basic realm="r"'),
                ("http_header.cookie", b"a=1; path=/"),
                ("http_header.cookie", b"b=2"),
                ("html_title", b"Sign in & go"),
            ],
        ),
        ("rtsp", b"RTSP/1.0 200 OK\r\nServer: GStreamer\r\n\r\n", [("rtsp_header.server", b"GStreamer")]),
        ("sip", b"SIP/2.0 200 OK\r\nUser-Agent: A/1\r\n\r\n", [("sip_header.user_agent", b"A/1")]),
        (
            "telnet",
            b"\xff\xfd\x18\xff\xfa\x18\x01\xff\xf0\xff\xfb\x01Welcome\r\nlogin: ",
            [("telnet_banners", b"Welcome\r\nlogin: "), ("telnet_banners", b"Welcome\r\nlogin:")],
        ),
        ("telnet", b"\xff\xfa\x18", []),
        ("mysql", b"\x4a\x00\x00\x00\x0a5.7.4\x00....", [("mysql.banners", b"5.7.4")]),
        ("mysql", b"\x0e\x00\x00\x00\xff\x6a\x04not allowed", [("mysql.error", b"not allowed")]),
        (
            "snmp",
            SNMP + bytes.fromhex("2b06010201010100") + b"\x04\x03abc",
            [("snmp.sys_description", b"abc")],
        ),
        ("snmp", bytes.fromhex("2b0601020101010004820003") + b"abc", [("snmp.sys_description", b"abc")]),
        (
            "dns",
            bytes.fromhex("12348180000100010000000007") + b"version\x04bind\0\0\x10\0\x03"
            + bytes.fromhex("c00c001000030000000000040361") + b"bc",
            [("dns.versionbind", b"abc")],
        ),
        ("ntp", b"\xd6\x82" + bytes(10) + b'version="ntpd 4.2"', [("ntp.readvar", b'version="ntpd 4.2"')]),
        ("x11", b"\x01\x00\x0b\x00\x00\x00" + bytes(18) + b"\x03\x00" + bytes(14) + b"abc", [("x11.vendor", b"abc")]),
        ("ldap", b"0\x0c", [("ldap.search_result", b"0\x0c")]),
        ("skype", b"x", []),
    ],
)  # fmt: skip
def test_fields(service: str, data: bytes, fields: list[tuple[str, bytes]]) -> None:
    assert list(fields_of(service, data)) == fields


@given(st.sampled_from(sorted(SERVICES)), st.binary(max_size=300))
def test_hostile_bytes_never_break(service: str, data: bytes) -> None:
    starts = (
        b"",
        b"220",
        b"HTTP/1.1 200 OK\r\nSet-Cookie:",
        b"\x01",
        bytes.fromhex("2b06010201010100"),
        b"\x4a\0\0\0\x0a",
    )
    for start in (*starts, b"\x07version\x04bind\x00\x00\x10\x00\x03"):
        for _, field in fields_of(service, start + data):
            assert isinstance(field, bytes)
