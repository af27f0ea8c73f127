"""The native matcher says of any bytes what the matcher in Python says."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsonar.config import FlowSettings
from flowsonar.flows.table import make_table
from flowsonar.model import Side, Transport
from flowsonar.signatures import load_signatures
from flowsonar.signatures.expressions import UnsupportedError, parsed
from flowsonar.signatures.lanetables import lane_tables
from flowsonar.signatures.matcher import Matcher, payload_rules
from flowsonar.signatures.programs import Group, _Automaton, _counts, _later, compile_payloads
from flowsonar.signatures.rules import Database, Rule
from tests.needs import needs_native

SIGNATURES = load_signatures()
PORTS = (40001, 123)


@pytest.fixture(scope="module")
def compiled():
    return compile_payloads(SIGNATURES)


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return {kind: Database(rules, "re2", cache) for kind, rules in payload_rules(SIGNATURES).items()}


@pytest.fixture(scope="module")
def table():
    return make_table(FlowSettings(capacity=16), lanes=lane_tables(SIGNATURES.digest, lambda: SIGNATURES))


def _samples() -> list[bytes]:
    """What the signatures' own examples say: every pattern has one."""
    examples = [example for signature in SIGNATURES.services.values() for example in signature.examples]
    return [example.data for example in examples]


def _expected(database: Database, data: bytes) -> set[tuple[str, int]]:
    """Rules that hold, products only beside a pattern of their service."""
    found = [rule for rule in database.found(data) if rule.on_port is None or not rule.on_port.isdisjoint(PORTS)]
    services = {rule.service for rule in found if not rule.names}
    return {_identity(rule) for rule in found if not rule.names or rule.service in services}


def _identity(rule: Rule) -> tuple[str, int]:
    return rule.service, rule.order[3]


def _agrees(table, compiled, databases, data: bytes) -> bool:
    """Whether both say the same; False where the native one leaves it to Python."""
    sure = True
    for udp, kind in enumerate((Transport.TCP, Transport.UDP)):
        rules = table.holding(udp, data, *PORTS, True)
        if rules is None or min(rules, default=0) < 0:
            sure = False
            continue
        order = compiled[kind].order
        assert {_identity(order[number]) for number in rules} == _expected(databases[kind], data)
    return sure


@needs_native()
def test_examples(table, compiled, databases) -> None:
    samples = _samples()
    sure = sum(_agrees(table, compiled, databases, data) for data in samples)
    assert sure > 0.9 * len(samples)


@needs_native()
def test_examples_cut_joined_and_changed(table, compiled, databases) -> None:
    chance = random.Random(7)
    samples = _samples()
    for data in samples:
        for changed in (
            data[: chance.randrange(len(data) + 1)],
            data + chance.choice(samples),
            data + b"\r\n" + chance.choice(samples)[:2000],
            chance.choice(samples)[:5] + data,
            data.swapcase(),
        ):
            _agrees(table, compiled, databases, changed[:2304])
        if data:
            at = chance.randrange(len(data))
            _agrees(table, compiled, databases, data[:at] + chance.randbytes(1) + data[at + 1 :])


@needs_native()
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes(table, compiled, databases, data: bytes) -> None:
    _agrees(table, compiled, databases, data)


def test_nearly_all_built_in_expressions_can_be_compiled() -> None:
    """One that cannot sends every flow that it may fit to the slow lane."""
    left, count = [], 0
    for rules in payload_rules(SIGNATURES).values():
        for rule in rules:
            count += 1
            try:
                if rule.condition.pattern is not None:
                    parsed(rule.condition.pattern)
            except UnsupportedError:
                left.append(rule.id or rule.service)
    assert len(left) < 0.03 * count, left


@pytest.mark.parametrize(
    ("pattern", "group"),
    [
        (r"(?i)\nServer: nginx", Group.LINES),
        (r"\n(?:A|B) [0-9]+", Group.LINES),
        (r"(?:^|\n)node on ", Group.LATER),
        (r"\r\nversion:", Group.LATER),
        ("OpenLDAP", Group.LATER),
    ],
)
def test_products_named_in_lines_are_looked_for_by_themselves(pattern: str, group: Group) -> None:
    assert _later(*parsed(pattern)) is group


@needs_native()
@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * 500 + b"\r\n\n\n\r\n"]
)
@pytest.mark.parametrize("tail", [b"", b"\r\n\r\n", b"\nServer", b"\n\n" * 50])
def test_lines_are_passed_over_up_to_the_one_that_names_a_product(table, compiled, databases, head, tail) -> None:
    for line in (
        b"Server: nginx/1.2",
        b"server: Apache/2.4.1 (Unix)",
        b" Server: nginx",
        b"\nServer: nginx",
        b"Serve\n",
    ):
        assert _agrees(table, compiled, databases, head + line + tail)


@pytest.mark.parametrize(
    "pattern", ["^[[:alpha:]]", r"^\pL", r"^\Qa\E", "(?m)a$", "a(?m:^b)", "(?i)^\xe9", "^a(?i)b", "^(", r"^(a)\1"]
)
def test_what_means_something_else_in_python_is_left_to_python(pattern: str) -> None:
    with pytest.raises(UnsupportedError):
        _Automaton(anywhere=False).add(*parsed(pattern), 0)


def test_what_counts_far_through_any_text_has_an_automaton_of_its_own() -> None:
    for pattern in ("^[A-Z][ -~]{8,500}$", "(?s)^.{0,90}x"):
        assert _counts(*parsed(pattern))
    for pattern in ("^GET [ -~]{8,500}$", "^[A-Z][a-z]{1,9}$", "^x?y.{100}z"):
        assert not _counts(*parsed(pattern))
    compiled = compile_payloads(SIGNATURES)
    assert all(
        compiled[kind].counting.instructions and compiled[kind].on_port.instructions
        for kind in (Transport.TCP, Transport.UDP)
    )


@needs_native()
def test_malformed_tables_are_refused() -> None:
    good = lane_tables(SIGNATURES.digest, lambda: SIGNATURES)
    for at in range(6, 9):
        for wrong in (b"x", b"\xff" * 48):
            tables = (*good[0][:at], wrong, *good[0][at + 1 :])
            if at == 8:
                continue  # bytes that nothing points to are no error
            with pytest.raises((ValueError, MemoryError)):
                make_table(FlowSettings(capacity=16), lanes=(tables, *good[1:]))
    for wrong in (b"\xff" * 24, b"\0" * 11, b"\x06\xff\xff\xff" + b"\0" * 8):
        tables = ((wrong, max(1, len(wrong) // 12)), *good[0][1:])
        with pytest.raises((ValueError, MemoryError)):
            make_table(FlowSettings(capacity=16), lanes=(tables, *good[1:]))


def test_the_matcher_uses_the_same_rules() -> None:
    matcher = Matcher(SIGNATURES)
    found = matcher.payload(Transport.TCP, Side.RESPONDER, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    assert [match.service for match in found] == ["ssh"]
