"""`flowsonar probe`: asks endpoints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from flowsonar.cli.arguments import Argument, Option
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
from flowsonar.errors import ConfigError

if TYPE_CHECKING:
    from flowsonar.cli.asked import Asked, Sources
    from flowsonar.config import Settings
    from flowsonar.outputs.progress import ProgressBar

__all__ = ["probe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """How the answers are given."""

    json: bool
    label: bool
    output: Path | None
    resume: bool


@exits
def probe(
    target: Annotated[
        list[str] | None,
        Argument(
            metavar="[TARGET...]",
            help="host:port, host:port/udp, [v6]:port, CIDR:ports; - reads targets or flow records.",
        ),
    ] = None,
    file: Annotated[
        list[Path] | None,
        Option("--file", metavar="FILE", help="Targets, conn.log, eve.json or nfdump's CSV (may be repeated)."),
    ] = None,
    json: JsonOption = False,
    label: Annotated[
        bool, Option("--label", help="Give flow records back as JSON lines with their label, in their order.")
    ] = False,
    output: Annotated[
        Path | None, Option("-o", "--output", metavar="FILE", help="Write JSON lines there, not to standard output.")
    ] = None,
    resume: Annotated[
        bool, Option("--resume", help="Go on with --output where a run before ended; nothing is asked twice.")
    ] = False,
    scope: ScopeOption = None,
    exclude: ExcludeOption = None,
    timeout: Annotated[
        float | None, Option("--timeout", metavar="S", min=0.05, help="Give an endpoint up after this long (3).")
    ] = None,
    max_probes: Annotated[
        int | None, Option("--max-probes", metavar="N", min=1, help="Connections per endpoint that answers (5).")
    ] = None,
    max_unanswered: Annotated[
        int | None,
        Option("--max-unanswered", metavar="N", min=0, help="Further ones that bring no byte (60)."),
    ] = None,
    rate: Annotated[
        float | None, Option("--rate", metavar="N", min=0.1, help="Connections and datagrams a second (400).")
    ] = None,
    per_host: Annotated[
        float | None, Option("--per-host", metavar="N", min=0.1, help="The same to one address (100).")
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be asked, send nothing.")] = False,
    store: StoreOption = None,
    signatures: SignaturesOption = None,
    recog: RecogOption = None,
    config: ConfigOption = None,
    verbose: VerboseOption = 0,
) -> int:
    """Ask endpoints what they are.

    Addresses outside loopback, link-local and private ranges need `--scope`.
    """
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
    settings = _with_budget(
        settings, timeout=timeout, max_probes=max_probes, max_unanswered=max_unanswered, rate=rate, per_host=per_host
    )
    if resume and output is None:
        raise ConfigError("--resume goes on with a file of records: name it with --output FILE")
    if dry_run and (label or output is not None):
        raise ConfigError("--dry-run asks nothing: leave --label and --output out")
    from flowsonar.cli.asked import Sources

    sources = Sources(target or (), [str(one) for one in file or ()], flows_only=label, tell=warn)
    wanted = _Wanted(json=json, label=label, output=output, resume=resume)
    return _ask(sources, settings, wanted)


def _with_budget(
    settings: Settings,
    *,
    timeout: float | None,
    max_probes: int | None,
    max_unanswered: int | None,
    rate: float | None,
    per_host: float | None,
) -> Settings:
    """Put the options over the settings; a burst is what a second brings."""
    budget = settings.budget
    if timeout is not None:
        budget = replace(budget, timeout_s=timeout)
    if max_probes is not None:
        budget = replace(budget, max_probes=max_probes)
    if max_unanswered is not None:
        budget = replace(budget, max_unanswered=max_unanswered)
    if rate is not None:
        budget = replace(budget, rate=rate, burst=max(1, int(rate)))
    if per_host is not None:
        burst = max(1, int(per_host))
        budget = replace(
            budget,
            per_host_rate=per_host,
            per_host_burst=burst,
            per_prefix_rate=max(per_host, budget.per_prefix_rate),
            per_prefix_burst=max(burst, budget.per_prefix_burst),
        )
    return replace(settings, budget=budget)


def _ask(sources: Sources, settings: Settings, wanted: _Wanted) -> int:
    from flowsonar.cli.asked import Endpoints, Plans, Records
    from flowsonar.outputs.progress import ProgressBar

    asked: Asked
    if settings.dry_run:
        asked = Plans(sources, settings, json=wanted.json)
    elif wanted.label:
        asked = Records(sources, settings, output=wanted.output, resume=wanted.resume)
    else:
        asked = Endpoints(sources, settings, json=wanted.json, output=wanted.output, resume=wanted.resume)
    with asked, ProgressBar(unit="") as bar:

        async def main() -> None:
            import asyncio

            drawing = asyncio.ensure_future(_draw(bar, asked))
            try:
                await asked.go()
            finally:
                drawing.cancel()

        run(main, asked.stop)
    return asked.told()


async def _draw(bar: ProgressBar, asked: Asked) -> None:
    import asyncio

    while True:
        bar("probe", *asked.progress())
        await asyncio.sleep(0.2)
