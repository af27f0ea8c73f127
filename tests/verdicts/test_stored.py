import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.model import Confidence, Evidence, EvidenceKind, Layer, Side, TrafficClass, Verdict
from flowsonar.verdicts.stored import clean, pack_verdict, unpack_verdict, verdict_from

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
MAYBE = st.none() | TEXT
EVIDENCE = st.builds(
    Evidence,
    kind=st.sampled_from(EvidenceKind),
    service=MAYBE,
    confidence=st.sampled_from(Confidence),
    side=st.sampled_from([None, *Side]),
    over=st.sampled_from([None, *Layer]),
    product=MAYBE,
    version=MAYBE,
    cpe=MAYBE,
    probe=MAYBE,
    signature=MAYBE,
    detail=TEXT,
    data=st.binary(max_size=64),
    specificity=st.integers(0, 10_000),
)
VERDICTS = st.builds(
    Verdict,
    service=MAYBE,
    over=st.sampled_from([None, *Layer]),
    product=MAYBE,
    version=MAYBE,
    cpe=MAYBE,
    traffic_class=st.sampled_from(TrafficClass),
    confidence=st.sampled_from(Confidence),
    name=MAYBE,
    evidence=st.lists(EVIDENCE, max_size=4).map(tuple),
    conflicts=st.lists(TEXT, max_size=3).map(tuple),
)


@given(VERDICTS)
def test_packed_and_unpacked(verdict):
    assert unpack_verdict(pack_verdict(verdict)) == verdict


def test_what_is_no_text_is_kept_as_its_escape():
    assert clean("a\udc80b") == "a\\udc80b"
    assert unpack_verdict(pack_verdict(Verdict(product="\udcff"))).product == "\\udcff"


@pytest.mark.parametrize(
    "packed", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", pack_verdict(Verdict()).replace(b"default", b"zzz")]
)
def test_damaged_rows_are_as_if_not_there(packed):
    with pytest.raises(ValueError):  # noqa: PT011
        unpack_verdict(packed)
    assert verdict_from(packed) == Verdict()


@given(st.binary(max_size=40))
def test_no_bytes_crash_it(packed):
    assert isinstance(verdict_from(packed), Verdict)
