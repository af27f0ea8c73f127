"""What a probe's first message would be: for dry runs and for documents, with fields filled in as in one try."""

from __future__ import annotations

import ipaddress
import random
from typing import Final

from flowsonar.model import Endpoint
from flowsonar.signatures.language import ProbeSpec
from flowsonar.signatures.templates import ConnectionFacts, render

__all__ = ["first_message", "shown"]

_TEXT: Final = 40


def first_message(probe: ProbeSpec, endpoint: Endpoint, host: str | None = None) -> bytes | None:
    """The bytes; None for a probe that listens first or that code makes."""
    template = probe.steps[0].send if probe.steps else None
    if template is None:
        return None
    target = ipaddress.ip_address(endpoint.address.partition("%")[0]).packed
    facts = ConnectionFacts(
        target_address=target,
        target_port=endpoint.port,
        prober_address=bytes(len(target)),
        prober_port=0,
        target_host=host,
    )
    return render(template, facts, {}, random.Random(0)).data


def shown(message: bytes) -> str:
    """`18 bytes "GET / HTTP/1.0..."`."""
    text = message[:_TEXT].decode("latin-1").encode("unicode_escape").decode("ascii")
    return f'{len(message)} bytes "{text}{"..." if len(message) > _TEXT else ""}"'
