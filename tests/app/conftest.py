"""What several of these tests load once."""

import pytest

from flowsonar.app.parts import Parts
from flowsonar.config import Settings


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts.load(Settings())
