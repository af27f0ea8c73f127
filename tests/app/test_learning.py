"""What is learned is compared line by line in `test_lanes`; here, that both sides mean the same bits."""

import gc
import re
from pathlib import Path

from flowsonar import _native
from flowsonar.app import Reading
from flowsonar.app.learning import _OTHER_SLOTS, Shape, Teacher, _depends_on_others
from flowsonar.flows.events import Opened
from flowsonar.model import Confidence, Evidence, EvidenceKind, FlowKey, Transport
from flowsonar.passive import PassiveFlow
from flowsonar.verdicts.followed import Followed
from tests.needs import CORPUS, needs_corpus, needs_native


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
    assert set(_OTHER_SLOTS) == {"datagrams", "ftp", "late", "mirrored", "requests", "stream"}


def test_what_another_flow_announced_is_not_learned() -> None:
    """Other flows with the same path were not announced."""
    opened = Opened(1, 0, 17, bytes([10, 0, 0, 1]), 40000, bytes([10, 0, 0, 2]), 50000, 0, 0, False)
    flow = Followed(1, FlowKey(Transport.UDP, "10.0.0.1", 40000, "10.0.0.2", 50000), opened, PassiveFlow(opened))
    flow.evidence.append(Evidence(kind=EvidenceKind.PAYLOAD, service="tinc", confidence=Confidence.LIKELY))
    assert not _depends_on_others(flow)
    flow.evidence.append(Evidence(kind=EvidenceKind.ANNOUNCED, service="tinc", confidence=Confidence.LIKELY))
    assert _depends_on_others(flow)


@needs_corpus()
@needs_native()
def test_a_capture_that_ended_leaves_nothing(tmp_path: Path) -> None:
    """What taught one capture's table goes with it: a run over a thousand captures must not keep a thousand."""
    gc.collect()
    gc.disable()
    try:
        reading = Reading([CORPUS / "skype" / "SkypeIRC.cap"], cache=tmp_path)
        assert sum(len(ended) for ended in reading.lines())
    finally:
        gc.enable()
    assert reading.counters["lane_flows"]
    assert not [kept for kept in gc.get_objects() if isinstance(kept, Teacher)]
