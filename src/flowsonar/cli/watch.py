"""`flowsonar watch`: live."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from flowsonar.cli import process
from flowsonar.cli.arguments import Option
from flowsonar.cli.common import (
    AsPeerOption,
    ConfigOption,
    ExcludeOption,
    FormatOption,
    JsonOption,
    OutputOption,
    RecogOption,
    ScopeOption,
    SignaturesOption,
    StoreOption,
    VerboseOption,
    exits,
    form_of,
    run,
    settings_from,
    warn,
)
from flowsonar.errors import ConfigError
from flowsonar.outputs import Format, open_output

if TYPE_CHECKING:
    from flowsonar.config import Settings
    from flowsonar.model import FlowRecord

__all__ = ["SourceKind", "watch"]


class SourceKind(StrEnum):
    """Where flows come from."""

    PACKETS = "packets"
    CONNTRACK = "conntrack"


@exits
def watch(
    interface: Annotated[
        list[str] | None,
        Option("-i", "--interface", metavar="IFACE", help="Interface to watch (may be repeated)."),
    ] = None,
    source: Annotated[
        SourceKind, Option("--source", help="Packets of interfaces, or the kernel's list of connections.")
    ] = SourceKind.PACKETS,
    json: JsonOption = False,
    form: FormatOption = None,
    output_file: OutputOption = None,
    scope: ScopeOption = None,
    exclude: ExcludeOption = None,
    passive: Annotated[bool, Option("--passive", help="Ask nothing; label only what shows itself.")] = False,
    ask_as_peer: AsPeerOption = False,
    ends: Annotated[
        bool,
        Option("--ends", help="Write flows when they end only (JSON lines, with --passive): the fastest way to watch."),
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be asked, send nothing.")] = False,
    write: Annotated[Path | None, Option("--write", metavar="FILE.pcapng", help="Keep the packets as pcapng.")] = None,
    duration: Annotated[
        float | None, Option("--duration", metavar="S", min=0.0, help="Stop after this many seconds.")
    ] = None,
    filter_expression: Annotated[
        str | None,
        Option("--filter", metavar="EXPR", help="Kernel filter in tcpdump's language (needs tcpdump)."),
    ] = None,
    rings: Annotated[
        int | None, Option("--rings", metavar="N", help="Rings of each interface, which share its flows (default: 1).")
    ] = None,
    cutoff: Annotated[
        int | None,
        Option("--cutoff", metavar="BYTES", help="Leave settled flows that have passed so many bytes in the kernel."),
    ] = None,
    store: StoreOption = None,
    signatures: SignaturesOption = None,
    recog: RecogOption = None,
    config: ConfigOption = None,
    verbose: VerboseOption = 0,
) -> int:
    """Watch interfaces and label flows live, asking their endpoints where the bytes do not tell.

    Needs root or CAP_NET_RAW (`--source conntrack`: CAP_NET_ADMIN). Ctrl-C ends it; flows that are still open are
    recorded.
    """
    from flowsonar.app import Watching
    from flowsonar.outputs.jsonlines import JsonOutput

    kind = form_of(json=json, form=form, output=output_file)
    settings = settings_from(
        config,
        scope=scope,
        exclude=exclude,
        store=store,
        signatures=signatures,
        recog=recog,
        passive=passive,
        ask_as_peer=ask_as_peer,
        dry_run=dry_run,
        verbose=verbose,
    )
    names = _interfaces(interface, source)
    if rings is not None:
        settings = replace(settings, capture=replace(settings.capture, rings=rings))
    if cutoff is not None:
        if not names or ends:
            raise ConfigError("--cutoff is for packets of interfaces, and without --ends")
        settings = replace(settings, capture=replace(settings.capture, cutoff_bytes=cutoff))
    if ends:
        if not (settings.passive and names and kind is Format.JSON and write is None):
            raise ConfigError("--ends is for packets of interfaces, --passive, JSON lines, and without --write")
        return _ends(names, settings, duration, filter_expression, output_file)
    watching = Watching(names, settings, duration_s=duration, write=write, filter_expression=filter_expression)

    async def main() -> None:
        with open_output(kind, live=True, file=output_file) as output:
            said = 0
            writes = output.write_ended if isinstance(output, JsonOutput) else None
            async for batch in watching.batches() if writes is None else watching.lines():
                if writes is None:
                    output.write(cast("list[FlowRecord]", batch))
                else:
                    writes(batch)
                output.refresh(watching.counters)
                for text, probes in watching.planned:
                    warn(f"would ask {text}: {', '.join(probes)}")
                for problem in watching.problems[said:]:
                    output.problem(problem)
                said = len(watching.problems)
            output.summary(watching.counters())

    run(main, watching.stop)
    return 0


def _ends(
    names: list[str], settings: Settings, duration: float | None, filter_expression: str | None, file: Path | None
) -> int:
    from flowsonar.app.ends import Ends
    from flowsonar.outputs.jsonlines import JsonOutput

    reading = Ends(names, settings, duration_s=duration, filter_expression=filter_expression)
    with open_output(Format.JSON, live=True, file=file) as output:
        assert isinstance(output, JsonOutput)
        process.collect_rarely()
        with process.stopped_by_signals(reading.end):
            for ended in reading.lines():
                output.write_ended(ended)
        output.summary(reading.counters)
    for problem in reading.problems:
        warn(problem)
    return 0


def _interfaces(interfaces: list[str] | None, source: SourceKind) -> list[str]:
    if source is SourceKind.CONNTRACK:
        if interfaces:
            raise ConfigError("--source conntrack sees the whole machine: leave --interface out")
        return []
    if not interfaces:
        raise ConfigError("which interface? name it with -i (`ip link` lists them), or take --source conntrack")
    return interfaces
