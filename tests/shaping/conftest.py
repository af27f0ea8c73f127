from collections.abc import Iterator

import pytest

from tests.shaping.world import World, world


@pytest.fixture
def lab() -> Iterator[World]:
    """A client, a gateway and a server."""
    with world() as made:
        yield made
