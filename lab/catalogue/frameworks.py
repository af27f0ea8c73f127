"""Web frameworks and small web servers of PyPI and Debian, mostly in their development servers."""

from __future__ import annotations

from lab.catalogue.plain import plain

__all__ = ["PROGRAMS"]

_APP = "lab.peers.web_app"


def _code(*lines: str) -> tuple[str, ...]:
    return ("{python}", "-c", "\n".join(lines))


PROGRAMS = (
    plain(
        "flask", "http", _code("import flask", "flask.Flask('x').run(host='0.0.0.0', port={port})"),
        product="Werkzeug", pip=("flask",),
    ),
    plain(
        "django", "http",
        _code(
            "from django.conf import settings",
            "settings.configure(DEBUG=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=['*'])",
            "urlpatterns = []",
            "import django.core.management as m",
            "m.execute_from_command_line(['x', 'runserver', '--noreload', '0.0.0.0:{port}'])",
        ),
        product="Python wsgiref", pip=("django",),
    ),
    plain("daphne", "http", f"{{python}} -m daphne -b 0.0.0.0 -p {{port}} {_APP}:asgi", product="daphne",
        pip=("daphne",)),
    plain(
        "granian", "http", f"{{python}} -m granian --host 0.0.0.0 --port {{port}} --interface asgi {_APP}:asgi",
        product="granian", pip=("granian",),
    ),
    plain(
        "sanic", "http",
        _code(
            "import sanic", "app = sanic.Sanic('x')", "app.add_route(lambda _: sanic.text('page'), '/')",
            "app.run(host='0.0.0.0', port={port}, single_process=True)",
        ),
        pip=("sanic",),
    ),
    plain(
        "gevent", "http",
        _code(
            "from gevent.pywsgi import WSGIServer", f"from {_APP} import wsgi",
            "WSGIServer(('0.0.0.0', {port}), wsgi).serve_forever()",
        ),
        pip=("gevent",),
    ),
    plain(
        "eventlet", "http",
        _code(
            "import eventlet, eventlet.wsgi", f"from {_APP} import wsgi",
            "eventlet.wsgi.server(eventlet.listen(('0.0.0.0', {port})), wsgi)",
        ),
        pip=("eventlet",),
    ),
    plain(
        "wsgidav", "http", "{venv}/wsgidav --host 0.0.0.0 --port {port} --root {files} --auth anonymous",
        product="WsgiDAV", pip=("wsgidav", "cheroot"),
    ),
    plain(
        "websockets", "http",
        _code(
            "import asyncio, websockets",
            "async def main():",
            "    async with websockets.serve(lambda one: one.recv(), '0.0.0.0', {port}):",
            "        await asyncio.Event().wait()",
            "asyncio.run(main())",
        ),
        product="websockets", pip=("websockets",),
    ),
    plain("jupyter", "http",
        "{python} -m jupyter_server --allow-root --ip 0.0.0.0 --port {port} --no-browser --ServerApp.root_dir={folder}",
        product="Tornado", pip=("jupyter-server",)),
    plain("grpc", "http",
        _code(
            "import grpc", "from concurrent.futures import ThreadPoolExecutor",
            "server = grpc.server(ThreadPoolExecutor(2))", "server.add_insecure_port('0.0.0.0:{port}')",
            "server.start()", "server.wait_for_termination()",
        ),
        client=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", pip=("grpcio",)),
    plain("proxy-py", "http", "{python} -m proxy --hostname 0.0.0.0 --port {port}", product="proxy.py",
        pip=("proxy.py",)),
    plain("thin", "http", "thin -R {folder}/config.ru -a 0.0.0.0 -p {port} start", product="thin", packages=("thin",),
        files={"config.ru": "run lambda { |env| [200, {'Content-Type'=>'text/plain'}, ['page']] }\n"}),
    plain("puma", "http", "puma -b tcp://0.0.0.0:{port} {folder}/config.ru", packages=("puma",),
        files={"config.ru": "run lambda { |env| [200, {'Content-Type'=>'text/plain'}, ['page']] }\n"}),
    plain("unicorn", "http", "unicorn -l 0.0.0.0:{port} {folder}/config.ru", packages=("unicorn",),
        files={"config.ru": "run lambda { |env| [200, {'Content-Type'=>'text/plain'}, ['page']] }\n"}),
    plain("civetweb", "http", "civetweb -listening_ports 0.0.0.0:{port} -document_root {files}",
        packages=("civetweb",)),
    plain("radicale", "http", "radicale --server-hosts 0.0.0.0:{port} --storage-filesystem-folder {folder}",
        product="Python wsgiref", packages=("radicale",)),
    plain("xandikos", "http", "xandikos -l 0.0.0.0 -p {port} -d {folder}/x --autocreate", product="aiohttp",
        packages=("xandikos",)),
    plain("websockify", "http", "websockify 0.0.0.0:{port} 127.0.0.1:1", product="WebSockify",
        packages=("websockify",)),
    plain("hg-serve", "http", ("sh", "-c", "hg init {folder}/r && exec hg -R {folder}/r serve -a 0.0.0.0 -p {port}"),
        product="Python http.server", packages=("mercurial",), program="hg"),
)  # fmt: skip
