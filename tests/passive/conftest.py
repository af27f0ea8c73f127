"""A reader over fake signatures."""

import pytest

from flowsonar.passive import PassiveReader

from .fakes import FakeMatcher, FakeSignatures


@pytest.fixture
def reader():
    return PassiveReader(FakeMatcher(), FakeSignatures())
