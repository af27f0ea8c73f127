"""`flowsonar probe`: asks endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowsonar.cli import process
from flowsonar.cli.common import (
    ConfigOption,
    ExcludeOption,
    JsonOption,
    RecogOption,
    ScopeOption,
    SignaturesOption,
    StoreOption,
    VerboseOption,
    exits,
    run,
    settings_from,
    warn,
)

if TYPE_CHECKING:
    from flowsonar.probes.targets import Target

__all__ = ["probe"]


@exits
def probe(
    target: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="host:port, host:port/udp, [v6]:port, ranges, CIDR:port; - reads targets, conn.log or eve.json.",
        ),
    ],
    json: JsonOption = False,
    scope: ScopeOption = None,
    exclude: ExcludeOption = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="S", min=0.05, help="Give an endpoint up after this long (3).")
    ] = None,
    max_probes: Annotated[
        int | None, typer.Option("--max-probes", metavar="N", min=1, help="Connections or datagrams per endpoint (5).")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", min=0.1, help="Connections and datagrams a second (200).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be asked, send nothing.")] = False,
    store: StoreOption = None,
    signatures: SignaturesOption = None,
    recog: RecogOption = None,
    config: ConfigOption = None,
    verbose: VerboseOption = 0,
) -> int:
    """Ask endpoints what they are.

    Addresses outside loopback, link-local and private ranges need `--scope`.
    """
    from flowsonar.app import Probing
    from flowsonar.outputs import Format, open_output

    settings = settings_from(
        config,
        scope=scope,
        exclude=exclude,
        store=store,
        signatures=signatures,
        recog=recog,
        dry_run=dry_run,
        verbose=verbose,
    )
    budget = settings.budget
    budget = replace(
        budget,
        timeout_s=timeout or budget.timeout_s,
        max_probes=max_probes or budget.max_probes,
        rate=rate or budget.rate,
        burst=budget.burst if rate is None else max(1, int(rate)),
    )
    probing = Probing(_targets(target), replace(settings, budget=budget))

    async def main() -> None:
        with open_output(Format.JSON if json else Format.TABLE, live=False) as output:
            async for record in probing:
                if not settings.dry_run:
                    output.write([record])
                    output.flush()

    run(main, probing.stop)
    for question, probes in probing.planned:
        endpoint = question.endpoint
        warn(f"would ask {endpoint.address} {endpoint.port}/{endpoint.transport}: {', '.join(probes)}")
    for problem in probing.problems:
        warn(problem)
    return 1 if probing.problems or not probing.total else 0


def _targets(texts: Iterable[str]) -> AsyncIterator[Target]:
    """Parse at once what is wrong in the arguments; standard input and files come when it is their turn."""
    from flowsonar.probes.targets import TargetLines, parse_target

    parsed: list[Iterable[Target] | None] = []
    for text in texts:
        if text == "-":
            parsed.append(None)
        elif ":" not in text and Path(text).is_file():
            parsed.append(TargetLines(text).parse(Path(text).read_text(errors="replace").splitlines()))
        else:
            parsed.append(parse_target(text))

    async def each() -> AsyncIterator[Target]:
        for targets in parsed:
            if targets is not None:
                for target in targets:
                    yield target
                continue
            lines = TargetLines("standard input")
            async for line in process.lines_of_input():
                for target in lines.parse([line]):
                    yield target

    return each()
