"""What the family modules share: offers of common services with their real clients."""

from __future__ import annotations

from lab.services.base import SMALL, Client, Site, Target
from lab.services.endpoint import endpoint
from lab.truth import EITHER

__all__ = ["offer_dns", "offer_ftp", "offer_http", "offer_smtp", "offer_ssh"]


def _curl(scheme: str, path: str, *options: str) -> Client:
    def command(target: Target) -> list[str]:
        return ["curl", "-sSk", "-m", "5", "-o", "/dev/null", *options, f"{scheme}://{target.host}:{target.port}{path}"]

    return Client(command=command)


def offer_http(
    site: Site,
    name: str,
    port: int,
    *,
    tls: bool = False,
    product: str | None = None,
    version: str | None = None,
    families: tuple[int, ...] = (4, 6),
    options: tuple[str, ...] = (),
) -> None:
    """A web server or a proxy; `options` are further ones of curl."""
    client = _curl("https" if tls else "http", f"/{SMALL}", *options)
    endpoint(site, name, port, "http", (client,), tls=tls, product=product, version=version, families=families)


def offer_ftp(
    site: Site,
    name: str,
    port: int,
    *,
    product: str | None = None,
    version: str | None = None,
    families: tuple[int, ...] = (4, 6),
) -> None:
    """An FTP server's control port."""
    endpoint(
        site, name, port, "ftp", (_curl("ftp", "/"),), over=EITHER, product=product, version=version, families=families
    )


def offer_smtp(
    site: Site,
    name: str,
    port: int,
    *,
    product: str | None = None,
    version: str | None = None,
    families: tuple[int, ...] = (4, 6),
) -> None:
    """A mail server."""
    endpoint(
        site,
        name,
        port,
        "smtp",
        (_curl("smtp", "", "--mail-rcpt", "b@lab.example"),),
        over=EITHER,
        product=product,
        version=version,
        families=families,
    )


def offer_ssh(
    site: Site,
    name: str,
    port: int,
    *,
    product: str | None = None,
    version: str | None = None,
    families: tuple[int, ...] = (4, 6),
) -> None:
    """An SSH server; the client gets as far as the key exchange."""

    def command(target: Target) -> list[str]:
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        settings = [word for option in options for word in ("-o", option)]
        return ["ssh", "-F", "none", "-p", str(target.port), *settings, f"root@{target.address}", "true"]

    endpoint(site, name, port, "ssh", (Client(command=command),), product=product, version=version, families=families)


def offer_dns(
    site: Site,
    name: str,
    port: int,
    *,
    product: str | None = None,
    version: str | None = None,
    families: tuple[int, ...] = (4, 6),
) -> None:
    """A name server, over UDP and TCP."""
    for transport, options in (("udp", ()), ("tcp", ("+tcp",))):

        def command(target: Target, options: tuple[str, ...] = options) -> list[str]:
            where = [f"@{target.address}", "-p", str(target.port), "www.lab.example"]
            return ["dig", "+tries=2", "+time=2", *options, *where]

        endpoint(
            site,
            f"{name}-{transport}",
            port,
            "dns",
            (Client(command=command),),
            transport=transport,
            product=product,
            version=version,
            families=families,
        )
