"""A program of one command and one port, as a row: what families of many such programs are made of."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.catalogue.endpoints import endpoint, says
from lab.catalogue.entry import Entry
from lab.packages import VENV
from lab.services.base import Site
from lab.truth import CLEAR, TLS

__all__ = ["GET", "plain"]

GET = ("curl", "-sSk", "-m", "5", "-o", "/dev/null", "http://{host}:{port}/")
_GETS = ("curl", "-sSk", "-m", "5", "-o", "/dev/null", "https://{host}:{port}/")


def plain(
    name: str,
    service: str,
    command: str | Sequence[str],
    *,
    client: Sequence[str] | bytes = GET,
    product: str | None = None,
    packages: tuple[str, ...] = (),
    pip: tuple[str, ...] = (),
    files: Mapping[str, str] | None = None,
    program: str = "",
    user: str | None = None,
    transport: str = "tcp",
    over: frozenset[str | None] = CLEAR,
) -> Entry:
    """`command` as words, or one text; `{port}`, `{folder}`, `{files}`, `{pem}`, `{venv}` and `{python}` are filled in.

    `files` are written into the folder first, `user` owns it; a `client` that is bytes is said and listened after.
    Programs listen on IPv4.
    """
    words = command.split() if isinstance(command, str) else list(command)
    asks = says(client) if isinstance(client, bytes) else _GETS if over == TLS and client == GET else client

    def start(site: Site) -> None:
        port, folder = site.ports.one(), site.folder(name, owner=user)
        known: Mapping[str, str | Path | int] = {
            "{port}": port,
            "{folder}": folder,
            "{files}": site.files,
            "{pem}": site.certificate,
            "{venv}": VENV / "bin",
            "{python}": site.interpreter,
        }
        for file, text in (files or {}).items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).parent.chmod(0o755)
            (folder / file).write_text(_filled(text, known))
            (folder / file).chmod(0o600)
            if user is not None:
                shutil.chown((folder / file).parent, user)
                shutil.chown(folder / file, user)
        site.run(*(_filled(word, known) for word in words), name=name)
        endpoint(site, name, service, port, asks, over=over, transport=transport, product=product, families=(4,))

    return Entry(name=name, start=start, packages=packages, pip=pip, program=program or ("/" if pip else words[0]))


def _filled(text: str, known: Mapping[str, str | Path | int]) -> str:
    for mark, value in known.items():
        text = text.replace(mark, str(value))
    return text
