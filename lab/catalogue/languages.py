"""Servers that languages bring along or their libraries make: Java's databases, Perl's web servers, Python's RPC."""

from __future__ import annotations

from lab.catalogue.plain import plain

__all__ = ["PROGRAMS"]

_PSGI = "sub { [200, ['Content-Type', 'text/plain'], ['page']] }"


def _code(*lines: str) -> tuple[str, ...]:
    return ("{python}", "-c", "\n".join(lines))


PROGRAMS = (
    plain("h2-database", "h2-database",
        "java -cp /usr/share/java/h2.jar org.h2.tools.Server -tcp -tcpPort {port} -tcpAllowOthers -baseDir {folder}",
        client=bytes.fromhex("0000000100000001"), product="H2", packages=("libh2-java", "default-jre-headless"),
        program="java"),
    plain("hsqldb", "hsqldb",
        "java -cp /usr/share/java/hsqldb.jar org.hsqldb.server.Server --port {port} --database.0 mem:x --dbname.0 x",
        client=bytes.fromhex("000000090003000000"), product="HSQLDB",
        packages=("libhsqldb-java", "default-jre-headless"), program="java"),
    plain("mojolicious", "http", ("perl", "-Mojo", "-E", "a('/' => {text => 'page'})->start", "daemon", "-l",
        "http://0.0.0.0:{port}"), product="Mojolicious", packages=("libmojolicious-perl",)),
    plain("starman", "http", ("starman", "-l", "0.0.0.0:{port}", "-e", _PSGI), packages=("starman",)),
    plain("twiggy", "http", ("twiggy", "-l", "0.0.0.0:{port}", "-e", _PSGI), packages=("twiggy",)),
    plain("weborf", "http", "weborf -p {port} -b {folder}", product="weborf", packages=("weborf",)),
    plain("websocketd", "http", "websocketd --port={port} cat", packages=("websocketd",)),
    plain("swi-prolog", "http",
        ("swipl", "-g", ("use_module(library(http/thread_httpd)),use_module(library(http/http_dispatch)),"
            "http_server(http_dispatch,[port({port})]),thread_get_message(_)")), packages=("swi-prolog-nox",),
        program="swipl"),
    plain("rpyc", "rpyc",
        _code("import rpyc", "from rpyc.utils.server import ThreadedServer",
            "ThreadedServer(rpyc.SlaveService, hostname='0.0.0.0', port={port}).start()"),
        client=bytes.fromhex("000000150001115111511152101151080e0861626364656667680a"), product="RPyC", pip=("rpyc",)),
    plain("python-manager", "python-manager",
        _code("from multiprocessing.managers import BaseManager",
            "BaseManager(('0.0.0.0', {port}), authkey=b'lab').get_server().serve_forever()"),
        client=b"", product="Python multiprocessing", program="/"),
    plain("pynng", "nanomsg",
        _code("import pynng, time", "rep = pynng.Rep0(listen='tcp://0.0.0.0:{port}')", "time.sleep(1e6)"),
        client=bytes.fromhex("0053500000300000"), pip=("pynng",)),
    plain("zenoh", "zenoh",
        _code("import zenoh, time", "conf = zenoh.Config()",
            "conf.insert_json5('listen/endpoints', '[\"tcp/0.0.0.0:{port}\"]')",
            "conf.insert_json5('scouting/multicast/enabled', 'false')", "kept = zenoh.open(conf)", "time.sleep(1e6)"),
        client=bytes.fromhex("0700010932aabbccdd"), product="Zenoh", pip=("eclipse-zenoh",)),
    plain("proton", "amqp",
        _code("from proton.handlers import MessagingHandler", "from proton.reactor import Container",
            "class Listening(MessagingHandler):", "    def on_start(self, event):",
            "        event.container.listen('0.0.0.0:{port}')", "Container(Listening()).run()"),
        client=b"AMQP\x00\x01\x00\x00", pip=("python-qpid-proton",)),
    plain("aioftp", "ftp",
        _code("import aioftp, asyncio", "asyncio.run(aioftp.Server().run('0.0.0.0', {port}))"),
        client=b"SYST\r\n", pip=("aioftp",)),
    plain("datasette", "http", "{venv}/datasette serve -p {port} -h 0.0.0.0 --memory", product="uvicorn",
        pip=("datasette",)),
)  # fmt: skip
