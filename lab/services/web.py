"""HTTP and HTTPS: nginx, and Python's http.server; curl is the client."""

from __future__ import annotations

from lab.services.base import BIG, SLOWLY, SMALL, Client, Service, Site, Target
from lab.truth import TLS, Truth

__all__ = ["nginx", "python_http", "start"]

_HTTP = Truth(service="http")
_HTTPS = Truth(service="http", over=TLS)

_NGINX = """daemon off;
pid {folder}/nginx.pid;
error_log stderr;
user www-data;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  root {files};
  ssl_certificate {certificate};
  ssl_certificate_key {certificate};
  server {{ listen {http}; listen [::]:{http}; }}
  server {{ listen {https} ssl http2; listen [::]:{https} ssl http2; }}
  server {{ listen {h2c} http2; listen [::]:{h2c} http2; }}
}}
"""


def _curl(scheme: str, *options: str) -> tuple[Client, Client]:
    """A short download and a long one."""

    def once(target: Target) -> list[str]:
        return ["curl", "-sSk", "-o", "/dev/null", *options, f"{scheme}://{target.host}:{target.port}/{SMALL}"]

    def slowly(target: Target) -> list[str]:
        url = f"{scheme}://{target.host}:{target.port}/{BIG}"
        return ["curl", "-sSk", "-o", "/dev/null", "--limit-rate", SLOWLY, *options, url]

    return Client(command=once), Client(command=slowly, lasts=True)


def _offer(site: Site, name: str, port: int, truth: Truth, kinds: tuple[tuple[str, ...], ...]) -> None:
    pairs = [_curl(*kind) for kind in kinds]
    site.offer(
        Service(
            name=name,
            transport="tcp",
            port=port,
            truth=truth,
            clients=tuple(short for short, _ in pairs),
            sessions=tuple(long for _, long in pairs),
        )
    )


def nginx(site: Site) -> None:
    """HTTP, HTTPS with HTTP/2, and HTTP/2 in clear."""
    folder = site.folder("nginx")
    http, https, h2c = (site.ports.one() for _ in range(3))
    settings = {"folder": folder, "files": site.files, "certificate": site.certificate}
    (folder / "nginx.conf").write_text(_NGINX.format(**settings, http=http, https=https, h2c=h2c))
    site.run("nginx", "-e", "stderr", "-c", folder / "nginx.conf")
    _offer(site, "nginx-http", http, _HTTP, (("http",),))
    _offer(site, "nginx-https", https, _HTTPS, (("https", "--http1.1"), ("https",)))
    _offer(site, "nginx-h2c", h2c, _HTTP, (("http", "--http2-prior-knowledge"),))


def python_http(site: Site) -> None:
    """Python's http.server, plain and inside TLS."""
    plain, secure = site.ports.one(), site.ports.one()
    site.python("http.server", "--bind", "::", "--directory", site.files, str(plain), name="python-http")
    site.python("lab.peers.https_server", str(secure), site.files, site.certificate, name="python-https")
    _offer(site, "python-http", plain, _HTTP, (("http",),))
    _offer(site, "python-https", secure, _HTTPS, (("https",),))


def start(site: Site) -> None:
    """Start the servers."""
    nginx(site)
    python_http(site)
