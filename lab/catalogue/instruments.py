"""Filters, devices and machines: what stands behind mail servers, proxies, radios, displays, hospitals and guests."""

from __future__ import annotations

from lab.catalogue.plain import plain
from lab.truth import TLS

__all__ = ["PROGRAMS"]

_ICAP = """Port 0.0.0.0:{port}
PidFile {folder}/pid
CommandsSocket {folder}/control
ServerLog {folder}/server.log
AccessLog {folder}/access.log
ModulesDir /usr/lib/x86_64-linux-gnu/c_icap
ServicesDir /usr/lib/x86_64-linux-gnu/c_icap
Service echo srv_echo.so
"""
_LCD = """[server]
DriverPath=/usr/lib/x86_64-linux-gnu/lcdproc/
Driver=text
Bind=0.0.0.0
Port={port}
User=nobody
[text]
Size=20x4
"""
_STUNNEL = """foreground=yes
pid=
syslog=no
[news]
accept=0.0.0.0:{port}
exec=/usr/sbin/leafnode
execArgs=leafnode
cert={pem}
"""
_NUTCRACKER = """redis-server --port 0 --unixsocket {folder}/redis --save '' &
exec nutcracker -c {folder}/pools.yml -a 127.0.0.1 -s 22222
"""
_POOLS = """a:
  listen: 0.0.0.0:{port}
  redis: true
  servers:
   - {folder}/redis:1 redis
"""
_POOLER = """[databases]
a=host=127.0.0.1 port=1
[pgbouncer]
listen_addr=0.0.0.0
listen_port={port}
auth_type=any
"""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

PROGRAMS = (
    plain("c-icap", "icap", "c-icap -N -D -f {folder}/conf", files={"conf": _ICAP}, product="c-icap",
        client=b"OPTIONS icap://lab/echo ICAP/1.0\r\nHost: lab\r\n\r\n", packages=("c-icap",)),
    plain("opendkim", "milter", "opendkim -f -p inet:{port}@0.0.0.0 -x {folder}/conf", files={"conf": "Mode v\n"},
        client=bytes.fromhex("0000000d4f000000020000003f0000007f"), packages=("opendkim",)),
    plain("lcdd", "lcdproc", "LCDd -f -c {folder}/conf", files={"conf": _LCD}, client=b"hello\n", product="LCDd",
        packages=("lcdproc",)),
    plain("rigctld", "hamlib", "rigctld -m 1 -T 0.0.0.0 -t {port}", client=b"\\get_level AF\n", product="Hamlib",
        packages=("libhamlib-utils",)),
    plain("rotctld", "hamlib", "rotctld -m 1 -T 0.0.0.0 -t {port}", client=b"\\stop\n", product="Hamlib",
        packages=("libhamlib-utils",)),
    plain("dcmtk", "dicom", "/usr/bin/storescp {port}", client=bytes.fromhex("05000000000400000000"),
        packages=("dcmtk",)),
    plain("yaz", "http", "yaz-ztest tcp:0.0.0.0:{port}", product="YAZ", packages=("yaz",)),
    plain("nghttpd", "http", "nghttpd --no-tls {port}", client=_PREFACE,
        packages=("nghttp2-server",)),
    plain("nghttpd-tls", "http", "nghttpd {port} {pem} {pem}", over=TLS, packages=("nghttp2-server",)),
    plain("webdis", "http", "webdis {folder}/conf", product="Webdis", packages=("webdis",),
        files={"conf": '{"redis_host":"127.0.0.1","redis_port":1,"http_port":{port},"http_host":"0.0.0.0"}\n'}),
    plain("leafnode-tls", "nntp", "stunnel {folder}/conf", files={"conf": _STUNNEL}, product="Leafnode", over=TLS,
        client=("openssl", "s_client", "-quiet", "-connect", "{address}:{port}"), packages=("leafnode", "stunnel4")),
    plain("perdition-imap", "imap", "perdition.imap4 -f '' -l {port} -s 127.0.0.1 --no_daemon -P IMAP4",
        client=b"a CAPABILITY\r\n", packages=("perdition",)),
    plain("perdition-pop3", "pop3", "perdition.pop3 -f '' -l {port} -s 127.0.0.1 --no_daemon -P POP3",
        client=b"CAPA\r\n", packages=("perdition",)),
    plain("orthanc", "http", "Orthanc {folder}/conf", packages=("orthanc",),
        files={"conf": '{"HttpPort":{port},"DicomServerEnabled":false,"RemoteAccessAllowed":true,'
            '"AuthenticationEnabled":false,"StorageDirectory":"{folder}"}\n'}),
    plain("snmptrapd", "snmp", "snmptrapd -f -Lo -C -c /dev/null 0.0.0.0:{port}", client=b"0", packages=("snmptrapd",),
        transport="udp"),
    plain("twemproxy", "redis", ("sh", "-c", _NUTCRACKER), files={"pools.yml": _POOLS},
        client=b"*1\r\n$4\r\nPING\r\n", packages=("nutcracker", "redis-server"), program="nutcracker"),
    plain("glacier2", "zeroc-ice",
        ("glacier2router", "--Glacier2.Client.Endpoints=tcp -p {port}",
            "--Glacier2.PermissionsVerifier=Glacier2/NullPermissionsVerifier"),
        client=b"", packages=("zeroc-glacier2",)),
    plain("unison", "unison", "unison -socket {port}", client=b"", product="Unison", packages=("unison",)),
    plain("qemu-qmp", "qmp", "qemu-system-x86_64 -display none -qmp tcp:0.0.0.0:{port},server,nowait -S -m 32",
        client=b"", product="QEMU", packages=("qemu-system-x86",), program="qemu-system-x86_64"),
    plain("qemu-monitor", "telnet",
        "qemu-system-x86_64 -display none -monitor telnet:0.0.0.0:{port},server,nowait -S -m 32",
        client=b"", packages=("qemu-system-x86",), program="qemu-system-x86_64"),
    plain("pgbouncer", "postgresql", "runuser -u nobody -- pgbouncer {folder}/conf",
        client=bytes.fromhex("0000000804d2162f"), user="nobody",
        files={"conf": _POOLER},
        packages=("pgbouncer",), program="pgbouncer"),
)  # fmt: skip
