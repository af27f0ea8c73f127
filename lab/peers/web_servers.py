"""Web servers of Python's libraries: `python -m lab.peers.web_servers aiohttp|tornado PORT FOLDER`."""

from __future__ import annotations

import asyncio
import importlib
import sys


async def _aiohttp(port: int, folder: str) -> None:
    web = importlib.import_module("aiohttp.web")
    application = web.Application()
    application.router.add_static("/", folder)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    await asyncio.Event().wait()


async def _tornado(port: int, folder: str) -> None:
    web = importlib.import_module("tornado.web")
    web.Application([(r"/(.*)", web.StaticFileHandler, {"path": folder})]).listen(port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    kinds = {"aiohttp": _aiohttp, "tornado": _tornado}
    asyncio.run(kinds[sys.argv[1]](int(sys.argv[2]), sys.argv[3]))
