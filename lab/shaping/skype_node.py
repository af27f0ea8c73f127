"""The Skype stand-in, which keeps sending call data to one peer: `python -m lab.shaping.skype_node OWN PORT PEER`."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Sequence

from flowsonar.demo.skype_standin import Node

__all__ = ["main"]


async def _run(own: str, port: int, peer: str) -> None:
    node = Node(own, port)
    await node.start()
    while True:
        message = secrets.token_bytes(2) + b"\x0d" + secrets.token_bytes(60)
        node._send(message, (peer, port))
        await asyncio.sleep(0.3)


def main(arguments: Sequence[str]) -> int:
    """Run until it is ended."""
    asyncio.run(_run(arguments[0], int(arguments[1]), arguments[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
