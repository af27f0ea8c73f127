"""A tracker with the real signatures and passive reader."""

from collections.abc import Callable

import pytest

from flowsonar.passive import PassiveReader
from flowsonar.signatures import Matcher, SignatureSet, load_signatures
from flowsonar.verdicts.tracker import Tracker


@pytest.fixture(scope="module")
def signatures() -> SignatureSet:
    return load_signatures()


@pytest.fixture(scope="module")
def matcher(signatures: SignatureSet) -> Matcher:
    return Matcher(signatures)


@pytest.fixture
def make(signatures: SignatureSet, matcher: Matcher) -> Callable[..., Tracker]:
    def build(**settings: object) -> Tracker:
        given = {"ask": True, "live": True, **settings}
        return Tracker(PassiveReader(matcher, signatures), signatures, **given)  # type: ignore[arg-type]

    return build
