"""Random answers are of the lengths that would hurt, and media is media."""

from __future__ import annotations

import random

from lab.lookalikes.babbler import media, said

from flowsonar.protocols import rtp


def test_what_is_said_has_lengths_that_look_like_something() -> None:
    lengths = {len(data) for seed in range(300) for data in said(random.Random(seed))}
    assert {11, 20, 23, 96} <= lengths


def test_media_goes_on() -> None:
    packets = [rtp.read_packet(data) for data in media(random.Random(1))]
    assert len({packet.source for packet in packets}) == 1
    assert [packet.sequence - packets[0].sequence for packet in packets] == [0, 1, 2]
