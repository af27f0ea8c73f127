"""Servers made of PyPI's libraries in a line or two, as people write them for their own use."""

from __future__ import annotations

from lab.catalogue.plain import plain

__all__ = ["PROGRAMS"]


def _code(*lines: str) -> tuple[str, ...]:
    return ("{python}", "-c", "\n".join(lines))


PROGRAMS = (
    plain("bottle", "http", _code("import bottle", "bottle.run(host='0.0.0.0', port={port})"), product="Python wsgiref",
        pip=("bottle",)),
    plain(
        "cherrypy", "http",
        _code(
            "import cherrypy",
            "cherrypy.config.update({'server.socket_host': '0.0.0.0', 'server.socket_port': {port}})",
            "cherrypy.quickstart()",
        ),
        product="CherryPy", pip=("cherrypy",),
    ),
    plain("microdot", "http", _code("from microdot import Microdot", "Microdot().run(host='0.0.0.0', port={port})"),
        pip=("microdot",)),
    plain("robot-remote", "http",
        _code("from robotremoteserver import RobotRemoteServer",
            "RobotRemoteServer(object(), host='0.0.0.0', port={port})"),
        product="Python http.server", pip=("robotframework", "robotremoteserver")),
    plain(
        "asyncua", "opc-ua",
        _code(
            "import asyncio", "from asyncua import Server",
            "async def main():",
            "    server = Server()",
            "    await server.init()",
            "    server.set_endpoint('opc.tcp://0.0.0.0:{port}/lab')",
            "    async with server:",
            "        await asyncio.Event().wait()",
            "asyncio.run(main())",
        ),
        client=bytes.fromhex("48454c4638000000000000000000010000000100000000000000000018000000") + b"opc.tcp://127.0.0.1:4840",
        pip=("asyncua",),
    ),
    plain("pynetdicom", "dicom", "{python} -m pynetdicom storescp {port}",
        client=bytes.fromhex("05000000000400000000"), pip=("pynetdicom",)),
    plain("coilmq", "stomp", "{venv}/coilmq -b 0.0.0.0 -p {port}",
        client=b"CONNECT\naccept-version:1.2\nhost:lab\n\n\x00", pip=("coilmq",)),
    plain("zerorpc", "zmtp",
        _code("import zerorpc", "server = zerorpc.Server(object())", "server.bind('tcp://0.0.0.0:{port}')",
            "server.run()"),
        client=bytes.fromhex("ff00000000000000017f"), pip=("zerorpc",)),
    plain("debugpy", "debug-adapter", "{python} -m debugpy --listen 0.0.0.0:{port} --wait-for-client -c pass",
        client=b"", product="debugpy", pip=("debugpy",)),
    plain("pyro4", "pyro", "{venv}/pyro4-ns -n 0.0.0.0 -p {port} -x", client=b"PYRO", product="Pyro", pip=("Pyro4",)),
    plain("pymap", "imap", "{venv}/pymap --host 0.0.0.0 --port {port} --no-service sieve dict --demo-data",
        client=b"a CAPABILITY\r\n", pip=("pymap",)),
    plain("miniircd", "irc", "{venv}/miniircd --ports {port} --setuid nobody", client=b"PING x\r\n", pip=("miniircd",)),
    plain(
        "aiocoap", "coap",
        _code(
            "import asyncio, aiocoap, aiocoap.resource as resource",
            "async def main():",
            "    await aiocoap.Context.create_server_context(resource.Site(), bind=('0.0.0.0', {port}))",
            "    await asyncio.Event().wait()",
            "asyncio.run(main())",
        ),
        client=bytes.fromhex("40001234"), pip=("aiocoap",), transport="udp",
    ),
)  # fmt: skip
