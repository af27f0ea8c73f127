from pathlib import Path

import pytest

from flowsonar.model import Transport
from flowsonar.signatures import SignatureSet, lanetables, load_signatures
from flowsonar.signatures.lanetables import lane_tables
from flowsonar.signatures.programs import Group, compile_payloads


def _refuse() -> SignatureSet:
    raise AssertionError("loaded again")


def test_kept_tables_are_those_that_were_made(tmp_path: Path) -> None:
    loaded = load_signatures()
    made = lane_tables(loaded.digest, lambda: loaded, cache=tmp_path)
    assert lane_tables(loaded.digest, _refuse, cache=tmp_path) == made
    compiled = compile_payloads(loaded)
    assert made[:2] == (compiled[Transport.TCP].native, compiled[Transport.UDP].native)


def test_ports_of_services_are_bits(tmp_path: Path) -> None:
    loaded = load_signatures()
    *_, tcp, udp = lane_tables(loaded.digest, lambda: loaded, cache=tmp_path)
    for ports, transport in ((tcp, Transport.TCP), (udp, Transport.UDP)):
        for port in range(65536):
            assert bool(ports[port >> 3] >> (port & 7) & 1) == bool(loaded.by_port(transport, port))


def test_a_set_without_a_digest_is_not_kept(tmp_path: Path) -> None:
    small = SignatureSet([load_signatures().services["ssh"]])
    lane_tables("", lambda: small, cache=tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(AssertionError):
        lane_tables("", _refuse, cache=tmp_path)


def test_as_many_automata_as_there_are_groups() -> None:
    assert len(Group) == lanetables._GROUPS
