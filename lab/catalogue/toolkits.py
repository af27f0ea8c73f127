"""Servers that toolkits make (Twisted, RPC libraries), and programs that others steer: an editor, a bus, routes, R."""

from __future__ import annotations

from lab.catalogue.plain import plain

__all__ = ["PROGRAMS"]


def _code(*lines: str) -> tuple[str, ...]:
    return ("{python}", "-c", "\n".join(lines))


def _twisted(module: str, factory: str, *more: str) -> tuple[str, ...]:
    """A server of Twisted's `module` whose protocols `factory` makes."""
    return _code(
        "from twisted.internet import protocol, reactor", f"import {module} as m", *more,
        "made = protocol.ServerFactory()", f"made.protocol = {factory}",
        "reactor.listenTCP({port}, made)", "reactor.run()",
    )  # fmt: skip


_SERVE = "asyncio.run(main())"
_TWISTED = ("twisted", "bcrypt", "pyasn1")
_ROUTES = (
    '{"metadata": {"buildtime": "2026-01-01T00:00:00Z"}, "roas": '
    '[{"prefix": "192.0.2.0/24", "maxLength": 24, "asn": "AS64500", "ta": "lab"}]}'
)

PROGRAMS = (
    plain("twisted-ftp", "ftp",
        _code("from twisted.protocols.ftp import FTPFactory, FTPRealm", "from twisted.cred.portal import Portal",
            "from twisted.cred.checkers import AllowAnonymousAccess", "from twisted.internet import reactor",
            "reactor.listenTCP({port}, FTPFactory(Portal(FTPRealm('.'), [AllowAnonymousAccess()])))",
            "reactor.run()"), client=b"SYST\r\n", pip=_TWISTED),
    plain("twisted-imap", "imap", _twisted("twisted.mail.imap4", "m.IMAP4Server"), client=b"a CAPABILITY\r\n",
        pip=_TWISTED),
    plain("twisted-pop3", "pop3", _twisted("twisted.mail.pop3", "m.POP3"), client=b"CAPA\r\n", pip=_TWISTED),
    plain("twisted-esmtp", "smtp", _twisted("twisted.mail.smtp", "m.ESMTP"), client=b"EHLO lab\r\n", pip=_TWISTED),
    plain("twisted-finger", "finger", _twisted("twisted.protocols.finger", "m.Finger"), client=b"alice\r\n",
        pip=_TWISTED),
    plain("twisted-echo", "echo", _twisted("twisted.protocols.wire", "m.Echo"), client=b"good morning\r\n",
        pip=_TWISTED),
    plain("twisted-web", "http",
        _code("from twisted.web import resource, server", "from twisted.internet import reactor",
            "reactor.listenTCP({port}, server.Site(resource.Resource()))", "reactor.run()"),
        product="Twisted Web", pip=_TWISTED),
    plain("thriftpy2", "thrift",
        _code("import io, thriftpy2", "from thriftpy2.rpc import make_server",
            "text = io.StringIO('service Lab ' + chr(123) + 'string ping()' + chr(125))",
            "made = thriftpy2.load_fp(text, 'lab_thrift')",
            "make_server(made.Lab, object(), '0.0.0.0', {port}).serve()"),
        client=bytes.fromhex("80010001000000046e6f6e650000000100"), pip=("thriftpy2",)),
    plain("pyro5", "pyro",
        _code("import Pyro5.api", "Pyro5.api.Daemon(host='0.0.0.0', port={port}).requestLoop()"),
        client=b"PYRO", product="Pyro", pip=("Pyro5",)),
    plain("telnetlib3", "telnet",
        _code("import asyncio, telnetlib3", "async def main():",
            "    kept = await telnetlib3.create_server(host='0.0.0.0', port={port})", "    await asyncio.sleep(1e6)",
            _SERVE), client=b"\r\n", pip=("telnetlib3",)),
    plain("aiorpcx", "json-rpc",
        _code("import asyncio, aiorpcx", "async def main():",
            "    kept = await aiorpcx.serve_rs(aiorpcx.RPCSession, '0.0.0.0', {port})", "    await asyncio.sleep(1e6)",
            _SERVE), client=b'{"jsonrpc": "2.0", "id": 1, "method": "x"}\n', pip=("aiorpcx",)),
    plain("websocket-server", "websocket",
        _code("from websocket_server import WebsocketServer", "WebsocketServer('0.0.0.0', {port}).run_forever()"),
        client=b"GET / HTTP/1.1\r\nHost: lab\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        pip=("websocket-server",)),
    plain("p4p", "epics-pva",
        _code("from p4p.nt import NTScalar", "from p4p.server import Server", "from p4p.server.thread import SharedPV",
            "Server.forever(providers=[dict(lab=SharedPV(nt=NTScalar('d'), initial=1.0))], useenv=False,",
            "    conf=dict(EPICS_PVAS_SERVER_PORT='{port}', EPICS_PVAS_INTF_ADDR_LIST='0.0.0.0'))"),
        client=b"", pip=("p4p",)),
    plain("dnslib", "dns", "{python} -m dnslib.fixedresolver -p {port} -a 0.0.0.0", transport="udp",
        client=bytes.fromhex("1234010000010000000000000361626304746573740000010001"), pip=("dnslib",)),
    plain("neovim", "msgpack-rpc", "nvim --headless --clean --listen 0.0.0.0:{port}",
        client=bytes.fromhex("940001b16e76696d5f6765745f6170695f696e666f90"), packages=("neovim",), program="nvim"),
    plain("stayrtr", "rpki-rtr", "stayrtr -bind 0.0.0.0:{port} -cache {folder}/routes.json -checktime=false",
        client=bytes.fromhex("0102000000000008"), packages=("stayrtr",), files={"routes.json": _ROUTES}),
    plain("dbus-daemon", "dbus", "dbus-daemon --session --nofork --address=tcp:host=0.0.0.0,port={port}",
        client=b"\x00AUTH EXTERNAL 30\r\n", packages=("dbus-daemon",)),
    plain("csync2", "csync2",
        ("socat", "TCP-LISTEN:{port},fork,reuseaddr", "EXEC:csync2 -i"), client=b"hello\n", product="Csync2",
        packages=("csync2", "socat")),
    plain("rserve", "rserve",
        ("env", "R_HOME=/usr/lib/R", "LD_LIBRARY_PATH=/usr/lib/R/lib", "/usr/lib/R/site-library/Rserve/libs/Rserve.dbg",
            "--no-save", "--vanilla", "--RS-enable-remote", "--RS-port", "{port}"),
        client=b"", product="Rserve", packages=("r-cran-rserve",),
        program="/usr/lib/R/site-library/Rserve/libs/Rserve.dbg"),
    plain("xapian-tcpsrv", "xapian", "xapian-tcpsrv --port {port} --writable {folder}/db", client=b"", product="Xapian",
        packages=("xapian-tools",)),
    plain("conserver", "conserver", "conserver -M 0.0.0.0 -p {port} -C {folder}/cf -P {folder}/pw -U {folder}/log -u",
        client=b"help\r\n", product="Conserver", packages=("conserver-server",),
        files={"cf": "access * { trusted 0.0.0.0/0; }\nconsole a { master localhost; type exec; exec cat; rw *; }\n",
            "pw": ""}),
    plain("podman", "docker", "podman --root {folder}/r --runroot {folder}/rr system service -t 0 tcp:0.0.0.0:{port}",
        client=("curl", "-sS", "http://{host}:{port}/_ping"), product="Podman", packages=("podman", "curl")),
    plain("zebra", "telnet", "/usr/lib/frr/zebra -u frr -g frr -P {port} -A 0.0.0.0 -f {folder}/conf -i {folder}/pid"
        " --vty_socket {folder} -z {folder}/api", client=b"\r\n", product="FRRouting", packages=("frr",),
        program="/usr/lib/frr/zebra", user="frr", files={"conf": "password lab\n"}),
)  # fmt: skip
