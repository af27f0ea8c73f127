"""The recorded captures beside the repository: Skype's flows are Skype, the others are not, nobody else's are."""

from collections import Counter

import pytest

from flowsonar.capture.capturefile import open_capture
from flowsonar.config import FlowSettings
from flowsonar.errors import CaptureError
from flowsonar.flows.events import Closed, Opened, Payload
from flowsonar.flows.table import make_table
from flowsonar.passive import FOLLOW, PassiveReader
from flowsonar.signatures.loader import load_signatures
from flowsonar.signatures.matcher import Matcher
from flowsonar.verdicts.fusion import fuse
from tests.needs import CORPUS, needs_corpus

pytestmark = needs_corpus()


@pytest.fixture(scope="module")
def signatures(tmp_path_factory):
    loaded = load_signatures()
    return loaded, Matcher(loaded, cache=tmp_path_factory.mktemp("cache"))


def _read(path, signatures):
    """Every flow of a capture with its verdict."""
    loaded, matcher = signatures
    reader = PassiveReader(matcher, loaded)
    table = make_table(FlowSettings(), follow=FOLLOW)
    flows = {}

    def take(events):
        for event in events:
            if type(event) is Opened:
                flows[event.flow] = (event, reader.open(event), [])
                continue
            _, flow, evidence = flows[event.flow]
            if type(event) is Payload:
                evidence.extend(reader.payload(flow, event).evidence)
            elif type(event) is Closed:
                evidence.extend(reader.close(flow).evidence)

    with open_capture(path) as capture:
        for block in capture:
            take(table.feed(block))
    take(table.finish())
    return [
        (opened, flow, fuse(evidence, loaded.traffic_class, flow.name), evidence)
        for opened, flow, evidence in flows.values()
    ]


def _is_skype(verdict):
    return verdict.service == "skype" and verdict.confidence.rank >= 2


def test_the_node_of_2006(signatures):
    flows = _read(CORPUS / "skype" / "SkypeIRC.cap", signatures)
    skype = [(opened, verdict) for opened, _, verdict, _ in flows if _is_skype(verdict)]
    kinds = Counter((opened.protocol, verdict.confidence.value) for opened, verdict in skype)
    assert kinds[17, "confirmed"] >= 90
    assert kinds[6, "confirmed"] + kinds[6, "likely"] == 10
    for opened, _, verdict, _ in flows:
        ports = {opened.initiator_port, opened.responder_port}
        if opened.protocol == 17:
            assert _is_skype(verdict) is (35990 in ports), opened
        if 6667 in ports:
            assert not _is_skype(verdict)
    details = " ".join(evidence.detail for _, _, verdict, _ in flows for evidence in verdict.evidence)
    for kind in ("UDP probe", "negative acknowledgement", "sent again", "fragments", "super node", "node's port",
                 "login server", "event server", "version check"):  # fmt: skip
        assert kind in details


def test_the_client_of_2013(signatures):
    flows = _read(CORPUS / "skype" / "skype.pcap", signatures)
    for opened, flow, verdict, _ in flows:
        if opened.initiator_port == 13021:
            assert _is_skype(verdict), opened
        if opened.protocol == 17 and opened.initiator_port != 13021:
            assert not _is_skype(verdict), opened
        if flow.name is not None:
            assert verdict.service in ("tls", "ssdp")
    tcp = [verdict for opened, _, verdict, _ in flows if opened.protocol == 6 and _is_skype(verdict)]
    assert sum(verdict.confidence.value == "confirmed" for verdict in tcp) >= 30
    assert len(tcp) >= 85


def test_nobody_else_is_skype(signatures):
    wrong = []
    read = 0
    for path in sorted((CORPUS / "ndpi" / "pcap").iterdir()):
        try:
            flows = _read(path, signatures)
        except CaptureError:
            continue
        read += 1
        wrong += [(path.name, opened) for opened, _, verdict, _ in flows if _is_skype(verdict)]
    assert read > 300
    assert not wrong
