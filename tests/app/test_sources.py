"""Every source does what `Watching` asks of it."""

import inspect

import pytest

from flowsonar.app.connections import ConnectionSource
from flowsonar.app.packets import PacketSource
from flowsonar.app.sources import Source

ASKED = [name for name, _ in inspect.getmembers(Source, inspect.isfunction) if not name.startswith("_")]


@pytest.mark.parametrize("kind", [ConnectionSource, PacketSource])
def test_every_method_is_there(kind: type) -> None:
    for name in ASKED:
        asked, given = inspect.signature(getattr(Source, name)), inspect.signature(getattr(kind, name))
        assert list(asked.parameters) == list(given.parameters), name
