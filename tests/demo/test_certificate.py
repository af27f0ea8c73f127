import ssl

from flowsonar.demo.certificate import SERVER_NAME, make_certificate


def test_a_server_and_a_client_accept_it(tmp_path):
    path = tmp_path / "certificate.pem"
    make_certificate(path)
    assert path.stat().st_mode & 0o777 == 0o600
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    client = ssl.create_default_context(cafile=str(path))
    left, right = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(left, right, server_hostname=SERVER_NAME)
    answering = server.wrap_bio(right, left, server_side=True)
    for side in (asking, answering, asking, answering):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert asking.getpeercert()["subjectAltName"] == (("DNS", SERVER_NAME),)
