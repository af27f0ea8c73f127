"""First payloads of the recorded captures, for codecs that are compared on them."""

import random

import pytest

from flowsonar.capture.capturefile import open_capture
from flowsonar.config import FlowSettings
from flowsonar.errors import CaptureError
from flowsonar.flows.events import Opened, Payload
from flowsonar.flows.table import make_table
from tests.needs import CORPUS


def _payloads(path):
    table, protocols = make_table(FlowSettings()), {}

    def take(events):
        for event in events:
            if type(event) is Opened:
                protocols[event.flow] = event.protocol
            elif type(event) is Payload:
                yield protocols[event.flow], event.direction, event.data

    try:
        with open_capture(path) as capture:
            for block in capture:
                yield from take(table.feed(block))
    except CaptureError:
        return


@pytest.fixture(scope="session")
def recorded():
    """IP protocol, direction and bytes of every payload that the flow table reports of the nDPI corpus."""
    if not CORPUS.is_dir():
        pytest.skip(f"{CORPUS} is not there")
    return [one for path in sorted((CORPUS / "ndpi" / "pcap").iterdir()) for one in _payloads(path)]


@pytest.fixture
def chance():
    """Numbers that are the same in every run."""
    return random.Random(7)
