"""Readers, over fake signatures and over the real ones."""

import pytest

from flowsonar.passive import PassiveReader
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher

from .fakes import FakeMatcher, FakeSignatures


@pytest.fixture
def matcher():
    return FakeMatcher()


@pytest.fixture
def reader(matcher):
    return PassiveReader(matcher, FakeSignatures())


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    signatures = load_signatures()
    return PassiveReader(Matcher(signatures, cache=tmp_path_factory.mktemp("cache")), signatures)
