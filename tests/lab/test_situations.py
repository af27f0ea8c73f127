"""Which flows must be labelled right in which situation."""

import ipaddress

import pytest
from lab.situations import SITUATIONS, Scope, Seen, Situation, required
from lab.topology import ADDRESS4, ADDRESS6, CLIENT, FORWARDED, SEEN4, SERVER
from lab.truth import Kind, Truth

SERVICE, NODE, IMPOSTOR = Truth(service="ssh"), Truth(service="skype", peer=True), Truth(service=None)
PASSIVE = Truth(service="ftp", kind=Kind.DATA_PASSIVE)
ACTIVE = Truth(service="ftp", kind=Kind.DATA_ACTIVE)
HIDDEN = Truth(service="ftp", kind=Kind.DATA_HIDDEN)


def _situation(**more: object) -> Situation:
    return Situation(name="x", title="x", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (SERVICE, NODE, PASSIVE, ACTIVE)),
        ({"middle": True}, (SERVICE, NODE)),
        ({"seen": Seen.TO_SERVER}, (SERVICE, NODE, ACTIVE)),
        ({"seen": Seen.TO_CLIENT}, (SERVICE, NODE, PASSIVE)),
        ({"scope": Scope.SERVER}, (SERVICE, NODE, PASSIVE, ACTIVE)),
        ({"scope": Scope.CLIENT}, (NODE, PASSIVE, ACTIVE)),
        ({"scope": Scope.NONE}, (PASSIVE, ACTIVE)),
    ],
)
def test_required(more: dict[str, object], expected: tuple[Truth, ...]) -> None:
    every = (SERVICE, NODE, IMPOSTOR, PASSIVE, ACTIVE, HIDDEN)
    assert tuple(truth for truth in every if required(truth, _situation(**more))) == expected


def test_names_are_unique_and_quick_has_every_kind() -> None:
    assert len({situation.name for situation in SITUATIONS}) == len(SITUATIONS)
    quick = [situation for situation in SITUATIONS if situation.quick]
    assert any(situation.middle for situation in quick)
    assert any(situation.scope is Scope.NONE for situation in quick)
    assert any(situation.way.loss for situation in quick)
    assert any(situation.seen is not Seen.BOTH for situation in quick)


@pytest.mark.parametrize("scope", list(Scope))
def test_scopes_hold_the_sides_they_say(scope: Scope) -> None:
    networks = [ipaddress.ip_network(text) for text in _situation(scope=scope).scopes]

    def inside(address: str) -> bool:
        value = ipaddress.ip_address(address)
        return any(value in network for network in networks if network.version == value.version)

    servers = [inside(address) for address in (ADDRESS4[SERVER], ADDRESS6[SERVER], FORWARDED)]
    clients = [inside(address) for address in (*SEEN4.values(), ADDRESS6[CLIENT]) if address != ADDRESS4[SERVER]]
    assert set(servers) == {scope in {Scope.BOTH, Scope.SERVER}}
    assert set(clients) == {scope in {Scope.BOTH, Scope.CLIENT}}
