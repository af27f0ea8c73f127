"""Games: real servers with clients that ask them (quakestat, mcstatus, quarry, python-a2s), or first words only."""

from __future__ import annotations

from collections.abc import Callable

from lab.catalogue import games
from lab.catalogue.entry import Entry
from lab.services.base import Site
from lab.traffic.mode import Mode, Stage, Start, of_entry

__all__ = ["MODES"]

_FIRST_WORDS = "the client says the game's first words only"
_MINECRAFT = ("quarry", "mcstatus")


def _entries(name: str) -> Entry:
    return next(entry for entry in games.PROGRAMS if entry.name == name)


def _asked(name: str, kind: str, add: int = 0) -> Mode:
    """A server of the catalogue that quakestat asks, as people's server lists do."""
    entry = _entries(name)

    def start(stage: Stage) -> None:
        site = Site(
            programs=stage.programs,
            ports=stage.ports,
            directory=stage.directory,
            namespace=stage.right_namespace,
            address4=stage.right,
            address6="::1",
        )
        entry.start(site)
        stage.started += site.started
        for service in site.services:
            stage.awaited.add((service.transport, service.port))
            stage.expect(service.truth.service or "", service.transport, service.port)
            stage.client("quakestat", f"-{kind}", f"{stage.right}:{service.port + add}", "-P", "-R")

    return Mode(program=name, mode="quakestat", start=start, packages=(*entry.packages, "qstat"), middle=False)


def _minecraft(role: str) -> Start:
    def start(stage: Stage) -> None:
        port = stage.ports.one()
        seconds = str(stage.seconds)
        stage.serve(*stage.python("lab.traffic.peers.minecraft", "serve", stage.right, port, seconds), tcp=port)
        stage.client(*stage.python("lab.traffic.peers.minecraft", role, stage.right, port, seconds))
        stage.expect("minecraft", "tcp", port)

    return start


def _standin(what: str, service: str, client: Callable[[Stage, int], list[str]]) -> Start:
    def start(stage: Stage) -> None:
        port = stage.ports.one()
        stage.serve(*stage.python("lab.traffic.peers.answers", what, stage.right, port), name=what, udp=port)
        stage.client(*client(stage, port))
        stage.expect(service, "udp", port)

    return start


def _a2s(stage: Stage, port: int) -> list[str]:
    return [stage.interpreter, "-c", f"import a2s; print(a2s.info(('{stage.right}', {port}), timeout=3))"]


def _bedrock(stage: Stage, port: int) -> list[str]:
    asks = f"from mcstatus import BedrockServer; print(BedrockServer('{stage.right}', {port}).status())"
    return [stage.interpreter, "-c", asks]


MODES: tuple[Mode, ...] = (
    _asked("openarena", "q3s"),
    _asked("teeworlds", "tees"),
    _asked("ddnet", "tees"),
    _asked("cube2", "cubes", -1),
    Mode(program="Minecraft (quarry)", mode="status", start=_minecraft("status"), pip=_MINECRAFT, middle=False),
    Mode(program="Minecraft (quarry)", mode="player", start=_minecraft("join"), pip=_MINECRAFT, quick=True),
    Mode(
        program="Minecraft Bedrock",
        mode="status",
        start=_standin("bedrock", "raknet", _bedrock),
        pip=("mcstatus",),
        middle=False,
        standin="the server answers a ping only; the client is mcstatus",
    ),
    Mode(
        program="Source engine",
        mode="A2S",
        start=_standin("source", "source-engine", _a2s),
        pip=("python-a2s",),
        middle=False,
        standin="the server answers A2S_INFO only; the client is python-a2s",
    ),
    *(
        of_entry(_entries(name), "first words", standin=_FIRST_WORDS)
        for name in ("minetest", "openttd", "wesnoth", "bzflag", "crossfire")
    ),
)
