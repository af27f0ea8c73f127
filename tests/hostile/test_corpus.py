"""Captures of the world, cut anywhere and with changed bits: read to their end by both lanes, whatever is in them."""

import contextlib
import random
from pathlib import Path

import pytest

from flowsonar.app import Parts, Reading
from flowsonar.config import FlowSettings, Settings
from flowsonar.errors import CaptureError
from tests.needs import CORPUS, needs_corpus

SETTINGS = Settings(flows=FlowSettings(capacity=4096))
MOST = 100_000
"""Bytes of a capture that are looked at: what comes later is more of the same."""
HEADER = 24
"""Of a pcap file: with another magic there is nothing to read."""


def _changed(data: bytes, chance: random.Random, every: int) -> bytes:
    changed = bytearray(data)
    for _ in range(max(4, len(data) // every)):
        changed[chance.randrange(HEADER, len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


@needs_corpus()
@pytest.mark.parametrize("share", range(4))
def test_damaged_captures(tmp_path: Path, share: int) -> None:
    chance, parts, path = random.Random(share), Parts.load(SETTINGS), tmp_path / "damaged"
    for capture in sorted((CORPUS / "ndpi" / "pcap").iterdir())[share::4]:
        data = capture.read_bytes()[:MOST]
        kinds = data[: chance.randrange(len(data))], _changed(data, chance, 2000), _changed(data, chance, 100)
        for damaged in kinds:
            path.write_bytes(damaged)
            with contextlib.suppress(CaptureError):
                list(Reading([path], SETTINGS, parts=parts))
            with contextlib.suppress(CaptureError):
                list(Reading([path], SETTINGS, parts=parts).lines())
