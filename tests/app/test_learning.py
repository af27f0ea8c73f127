"""What is learned is compared line by line in `test_lanes`; here, that both sides mean the same bits."""

import re
from pathlib import Path

from flowsonar import _native
from flowsonar.app.learning import _OTHER_SLOTS, Shape


def test_flags_are_those_of_the_core() -> None:
    header = Path(_native.__file__ or "").with_name("shapes.h").read_text(encoding="ascii")
    given = dict(re.findall(r"SHAPE_(\w+) = 1 << (\d+)", header))
    for flag in Shape:
        if not (flag.name or "").startswith("QUIET"):
            assert 1 << int(given[flag.name or ""]) == flag
    assert 1 << int(given["QUIET"]) == Shape.QUIET_INITIATOR
    assert 2 << int(given["QUIET"]) == Shape.QUIET_RESPONDER


def test_what_needs_python_is_chosen() -> None:
    """A slot that is new must be one or the other: what is not learned takes its flows out of the fast lane."""
    assert set(_OTHER_SLOTS) == {"datagrams", "ftp", "late", "mirrored", "stream"}
