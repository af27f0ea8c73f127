from __future__ import annotations

import random

import pytest

from flowsonar.probes.special.computed import computed
from flowsonar.probes.special.mse import Mse


@pytest.mark.parametrize("special", [None, "tls", "nothing"])
def test_nothing_is_computed_for_other_probes(special: str | None) -> None:
    assert computed(special, random.Random(1)) is None


def test_message_stream_encryption_is_computed() -> None:
    assert isinstance(computed("mse", random.Random(1)), Mse)
