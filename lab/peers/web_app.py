"""One page for the servers that run applications: the same as WSGI and as ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

__all__ = ["asgi", "wsgi"]

_PAGE = b"The laboratory's page.\n"


def wsgi(_environment: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    """PEP 3333."""
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(_PAGE)))])
    return [_PAGE]


async def asgi(
    scope: dict[str, Any], _receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """ASGI 3; only `http` is served."""
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(_PAGE))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _PAGE})
