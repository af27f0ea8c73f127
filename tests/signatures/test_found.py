"""A table's automata find the rules that the databases find."""

import struct

import pytest

from flowsonar.config import FlowSettings
from flowsonar.flows.table import make_table
from flowsonar.model import Side, Transport
from flowsonar.signatures import load_signatures
from flowsonar.signatures.found import TableFinder
from flowsonar.signatures.lanetables import lane_tables
from flowsonar.signatures.matcher import Matcher, payload_rules
from tests.needs import needs_native

SIGNATURES = load_signatures()
TABLES = lane_tables(SIGNATURES.digest, lambda: SIGNATURES)
PORTS = (40001, 123)


@pytest.fixture(scope="module")
def matcher():
    return Matcher(SIGNATURES)


@needs_native()
def test_a_matcher_that_asks_a_table_says_the_same(matcher) -> None:
    table = make_table(FlowSettings(capacity=16), lanes=TABLES)
    asking = matcher.asking(lambda rules: TableFinder(table.holding, TABLES, rules))
    for signature in SIGNATURES.services.values():
        for example in signature.examples:
            for transport in (Transport.TCP, Transport.UDP):
                for side in (None, Side.INITIATOR, Side.RESPONDER):
                    said = asking.payload(transport, side, example.data, PORTS)
                    assert said == matcher.payload(transport, side, example.data, PORTS)


@needs_native()
def test_no_database_is_made_for_what_a_table_tells(tmp_path) -> None:
    table = make_table(FlowSettings(capacity=16), lanes=TABLES)
    asking = Matcher(SIGNATURES, cache=tmp_path).asking(lambda rules: TableFinder(table.holding, TABLES, rules))
    assert asking.payload(Transport.TCP, Side.RESPONDER, b"SSH-2.0-OpenSSH_9.2\r\n", PORTS)[0].service == "ssh"
    assert not list(tmp_path.iterdir())


def test_what_may_hold_is_decided_by_the_rules_own_condition() -> None:
    rules = payload_rules(SIGNATURES)
    number, ssh = next((at, rule) for at, rule in enumerate(rules[Transport.TCP]) if rule.service == "ssh")
    packed = struct.pack("<20xI", number)
    tables = ((*TABLES[0][:6], packed), (*TABLES[1][:6], b""))
    finder = TableFinder(lambda *_: [-1], tables, rules)
    assert finder(Transport.TCP, b"SSH-2.0-OpenSSH_9.2\r\n", PORTS, names=True) == (ssh,)
    assert finder(Transport.TCP, b"220 hello\r\n", PORTS, names=True) == ()


@pytest.mark.parametrize("ports", [(), (1, 2)])
def test_what_the_table_leaves_open_is_for_others(ports) -> None:
    assert (
        TableFinder(lambda *_: None, TABLES, payload_rules(SIGNATURES))(Transport.TCP, b"x", ports, names=True) is None
    )
