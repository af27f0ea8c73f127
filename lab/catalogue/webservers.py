"""HTTP servers: plain, inside TLS and QUIC where they can, of Debian and of PyPI."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lab.catalogue.entry import Entry, unpacked, version_of
from lab.catalogue.offers import offer_http
from lab.packages import VENV
from lab.services.base import Service, Site
from lab.truth import Truth

__all__ = ["PROGRAMS"]

_APACHE = """ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/pid
ErrorLog {folder}/error.log
ServerName server.lab.example
Listen {http}
Listen {https}
{modules}
User www-data
Group www-data
DocumentRoot {files}
<Directory {files}>
  Require all granted
</Directory>
<VirtualHost *:{https}>
  SSLEngine on
  SSLCertificateFile {certificate}
  SSLCertificateKeyFile {certificate}
</VirtualHost>
"""
_LIGHTTPD = """server.document-root = "{files}"
server.modules = ( "mod_openssl" )
server.errorlog = "/dev/stderr"
server.bind = "0.0.0.0"
server.port = {http}
$SERVER["socket"] == "[::]:{http}" {{ }}
$SERVER["socket"] == ":{https}" {{ ssl.engine = "enable" ssl.pemfile = "{certificate}" }}
$SERVER["socket"] == "[::]:{https}" {{ ssl.engine = "enable" ssl.pemfile = "{certificate}" }}
"""
_CADDY = """{{
  admin off
  auto_https off
}}
http://:{http} {{
  root * {files}
  file_server
}}
https://:{https} {{
  tls {certificate} {certificate}
  root * {files}
  file_server
}}
"""
_H2O = """listen: {http}
listen:
  port: {https}
  ssl:
    certificate-file: {certificate}
    key-file: {certificate}
hosts:
  default:
    paths:
      /:
        file.dir: {files}
"""
_NODE = """const http = require('http'), https = require('https'), fs = require('fs');
const [plain, secure, pem] = process.argv.slice(2);
const page = (_request, response) => response.end('page\\n');
http.createServer(page).listen(+plain, '::');
https.createServer({ key: fs.readFileSync(pem), cert: fs.readFileSync(pem) }, page).listen(+secure, '::');
"""


def _two(site: Site) -> tuple[int, int]:
    return site.ports.one(), site.ports.one()


def _offer_two(site: Site, name: str, ports: tuple[int, int], product: str | None, version: str | None) -> None:
    offer_http(site, name, ports[0], product=product, version=version)
    offer_http(site, f"{name}-tls", ports[1], tls=True, product=product, version=version)


def _configured(site: Site, name: str, text: str, ports: tuple[int, int], **more: str) -> Path:
    folder = site.folder(name)
    values = {"folder": folder, "files": site.files, "certificate": site.certificate, **more}
    path = folder / "configuration"
    path.write_text(text.format(http=ports[0], https=ports[1], **values))
    return path


def _apache(site: Site) -> None:
    ports = _two(site)
    names = ("mpm_event", "authz_core", "ssl", "socache_shmcb", "dir")
    modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in names)
    site.run("apache2", "-D", "FOREGROUND", "-f", _configured(site, "apache", _APACHE, ports, modules=modules))
    _offer_two(site, "apache", ports, "Apache", version_of(["apache2", "-v"]))


def _lighttpd(site: Site) -> None:
    ports = _two(site)
    site.run("lighttpd", "-D", "-f", _configured(site, "lighttpd", _LIGHTTPD, ports))
    _offer_two(site, "lighttpd", ports, "lighttpd", version_of(["lighttpd", "-v"]))


def _caddy(site: Site) -> None:
    ports = _two(site)
    site.run("caddy", "run", "--adapter", "caddyfile", "--config", _configured(site, "caddy", _CADDY, ports))
    _offer_two(site, "caddy", ports, "Caddy", None)
    quic = Truth(service="http", over=frozenset({"quic"}))
    site.offer(Service(name="caddy-h3", transport="udp", port=ports[1], truth=quic, clients=()))


def _h2o(site: Site) -> None:
    ports = _two(site)
    site.run("h2o", "-m", "worker", "-c", _configured(site, "h2o", _H2O, ports))
    _offer_two(site, "h2o", ports, "H2O|h2o", version_of(["h2o", "-v"]))


def _nghttpx(site: Site) -> None:
    plain, secure = _two(site)
    fronts = [f"--frontend=*,{plain};no-tls", f"--frontend=*,{secure}", "--backend=127.0.0.1,1"]
    files = [str(site.certificate), str(site.certificate)]
    site.run("nghttpx", "--workers=1", "--conf=/dev/null", *fronts, *files)
    _offer_two(site, "nghttpx", (plain, secure), "nghttpx", None)


def _one(
    name: str, command: Callable[[Site, int], list[str | Path]], product: str | None, version: Callable[[], str | None],
    families: tuple[int, ...] = (4, 6),
) -> Callable[[Site], None]:  # fmt: skip
    """A server of one command and one port."""

    def start(site: Site) -> None:
        port = site.ports.one()
        site.run(*command(site, port), name=name)
        offer_http(site, name, port, product=product, version=version(), families=families)

    return start


def _mini_httpd(site: Site) -> None:
    ports = _two(site)
    for port, more in zip(ports, ([], ["-S", "-E", str(site.certificate)]), strict=True):
        site.run("mini_httpd", "-D", "-p", str(port), "-d", site.files, *more)
    _offer_two(site, "mini-httpd", ports, "mini_httpd|ACME httpd", version_of(["mini_httpd", "-V"]))


def _node(site: Site) -> None:
    ports = _two(site)
    script = site.folder("node") / "server.js"
    script.write_text(_NODE)
    site.run("node", script, *map(str, ports), site.certificate)
    _offer_two(site, "node", ports, None, None)


def _pip_version(package: str) -> Callable[[], str | None]:
    code = f"import importlib.metadata as m; print('v' + m.version({package!r}))"
    return lambda: version_of([f"{VENV}/bin/python", "-c", code], r"v([0-9][0-9A-Za-z.]*)")


def _python(
    name: str,
    arguments: Callable[[Site, int], list[str]],
    product: str,
    *,
    tls: Callable[[Site], list[str]] | None = None,
    tells: bool = True,
    families: tuple[int, ...] = (4, 6),
    pip: tuple[str, ...] = (),
) -> Entry:
    """A server of PyPI that is run as a module."""

    def start(site: Site) -> None:
        version = _pip_version(name)() if tells else None
        for tail, more in (("", []), ("-tls", tls(site) if tls else None)):
            if more is None:
                continue
            port = site.ports.one()
            site.python(*arguments(site, port), *more, name=f"{name}{tail}")
            secure = bool(tail)
            offer_http(site, f"{name}{tail}", port, tls=secure, product=product, version=version, families=families)

    return Entry(name=name, start=start, pip=(name, *pip))


def _pem(flags: tuple[str, str]) -> Callable[[Site], list[str]]:
    return lambda site: [flags[0], str(site.certificate), flags[1], str(site.certificate)]


_NO_VERSION: Callable[[], str | None] = lambda: None  # noqa: E731
_of = partial(partial, version_of)
_MERECAT = unpacked("merecat") / "usr/sbin/merecat"
_APP = "lab.peers.web_app"

PROGRAMS: tuple[Entry, ...] = (
    Entry(name="apache", start=_apache, packages=("apache2-bin",)),
    Entry(name="lighttpd", start=_lighttpd, packages=("lighttpd", "lighttpd-mod-openssl")),
    Entry(name="caddy", start=_caddy, packages=("caddy",)),
    Entry(name="h2o", start=_h2o, packages=("h2o",)),
    Entry(name="nghttpx", start=_nghttpx, packages=("nghttp2-proxy",)),
    Entry(
        name="webfs",
        start=_one(
            "webfs",
            lambda site, port: ["webfsd", "-F", "-p", str(port), "-r", site.files],
            "webfs",
            lambda: "1.21",
            families=(4,),
        ),
        packages=("webfs",),
    ),
    Entry(name="mini-httpd", start=_mini_httpd, packages=("mini-httpd",)),
    Entry(
        name="micro-httpd",
        start=_one(
            "micro-httpd",
            lambda site, port: ["tcpserver", "-HRl0", "0.0.0.0", str(port), "/usr/sbin/micro-httpd", site.files],
            "micro_httpd",
            _NO_VERSION,
            families=(4,),
        ),
        packages=("micro-httpd", "ucspi-tcp"),
    ),
    Entry(
        name="merecat",
        start=_one(
            "merecat",
            lambda site, port: [_MERECAT, "-n", "-f", "/dev/null", "-p", str(port), site.files],
            "Merecat",
            _NO_VERSION,
        ),
        packages=("libconfuse2",),
        unpack=("merecat",),
    ),
    Entry(
        name="busybox-httpd",
        start=_one(
            "busybox-httpd",
            lambda site, port: ["busybox", "httpd", "-f", "-p", f"[::]:{port}", "-h", site.files],
            None,
            _NO_VERSION,
        ),
        packages=("busybox | busybox-static",),
    ),
    Entry(
        name="webrick",
        start=_one(
            "webrick",
            lambda site, port: ["ruby", "-run", "-e", "httpd", site.files, "-p", str(port), "-b", "0.0.0.0"],
            "WEBrick",
            _of(["ruby", "-rwebrick", "-e", "puts WEBrick::VERSION"]),
            families=(4,),
        ),
        packages=("ruby", "ruby-webrick"),
    ),
    Entry(
        name="php",
        start=_one("php", lambda site, port: ["php", "-S", f"[::]:{port}", "-t", site.files], "PHP", _NO_VERSION),
        packages=("php-cli",),
    ),
    Entry(name="node", start=_node, packages=("nodejs",)),
    _python(
        "gunicorn",
        lambda _site, port: ["gunicorn", "-b", f"[::]:{port}", f"{_APP}:wsgi"],
        "gunicorn",
        tls=_pem(("--certfile", "--keyfile")),
        tells=False,
    ),
    _python(
        "uvicorn",
        lambda _site, port: ["uvicorn", "--host", "::", "--port", str(port), f"{_APP}:asgi"],
        "uvicorn",
        tls=_pem(("--ssl-certfile", "--ssl-keyfile")),
        tells=False,
        families=(6,),
    ),
    _python(
        "hypercorn",
        lambda _site, port: ["hypercorn", "-b", f"[::]:{port}", f"{_APP}:asgi"],
        "hypercorn",
        tls=_pem(("--certfile", "--keyfile")),
        tells=False,
    ),
    _python(
        "waitress", lambda _site, port: ["waitress", f"--listen=*:{port}", f"{_APP}:wsgi"], "waitress", tells=False
    ),
    _python(
        "twisted",
        lambda site, port: ["twisted", "web", "--listen", f"tcp6:{port}", "--path", str(site.files)],
        "TwistedWeb|Twisted Web",
        pip=("service-identity", "pyopenssl"),
    ),
    _python(
        "tornado",
        lambda site, port: ["lab.peers.web_servers", "tornado", str(port), str(site.files)],
        "TornadoServer|Tornado",
    ),
    _python(
        "aiohttp", lambda site, port: ["lab.peers.web_servers", "aiohttp", str(port), str(site.files)], "aiohttp"
    ),
    _python("cheroot", lambda _site, port: ["cheroot", f"{_APP}:wsgi", "--bind", f"[::]:{port}"], "Cheroot"),
)  # fmt: skip
