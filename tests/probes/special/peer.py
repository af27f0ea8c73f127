"""A TLS server in memory, with a certificate made for the test run."""

from __future__ import annotations

import atexit
import datetime
import functools
import shutil
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@functools.cache
def _folder() -> str:
    """Of the certificates; it goes with the process."""
    folder = tempfile.mkdtemp(prefix="flowsonar-test-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def certificate_file(names: tuple[str, ...] = ("lab.example", "www.lab.example")) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "common.example")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2040, 1, 1, tzinfo=datetime.UTC))
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False
        )
    path = Path(tempfile.mkdtemp(dir=_folder())) / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    return path


def certificate_der() -> bytes:
    return x509.load_pem_x509_certificate(certificate_file().read_bytes()).public_bytes(serialization.Encoding.DER)


def server_context(
    *,
    alpn: tuple[str, ...] = (),
    names: tuple[str, ...] = ("lab.example", "www.lab.example"),
    client_certificate: bool = False,
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file(names))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if client_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class TlsServer:
    def __init__(self, plain: bytes = b"", context: ssl.SSLContext | None = None) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = (context or server_context()).wrap_bio(self._in, self._out, server_side=True)
        self._plain = plain
        self.done = False
        self.heard = b""

    def feed(self, data: bytes) -> None:
        self._in.write(data)
        try:
            if not self.done:
                self._object.do_handshake()
                self.done = True
                if self._plain:
                    self._object.write(self._plain)
            while True:
                self.heard += self._object.read(65536)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            pass  # the alert is in the outgoing bytes

    def outgoing(self) -> bytes:
        return self._out.read()
