"""`flowsonar shape`: live, and the labels move packets."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from flowsonar.cli.arguments import Option
from flowsonar.cli.common import (
    AsPeerOption,
    ConfigOption,
    ExcludeOption,
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
from flowsonar.cli.watch import SourceKind
from flowsonar.errors import ConfigError
from flowsonar.shaping.queues import Discipline

if TYPE_CHECKING:
    from flowsonar.app.classrows import ClassRows
    from flowsonar.app.shapeplan import ShapePlan
    from flowsonar.app.shaping import Shaping
    from flowsonar.app.watching import Watching
    from flowsonar.config import Settings

__all__ = ["PolicyOption", "shape"]

_CLASSES_S = 10.0
"""The classes' counters are written to JSON lines this often, and at the end."""
_UNITS = {"": 1, "k": 1, "kbit": 1, "m": 1000, "mbit": 1000, "g": 1_000_000, "gbit": 1_000_000}

PolicyOption = Annotated[
    Path | None, Option("--policy", metavar="FILE", help="What labels mean for packets (default: built in).")
]


@exits
def shape(
    interface: Annotated[
        str | None, Option("-i", "--interface", metavar="IFACE", help="The interface that the line is behind.")
    ] = None,
    lan: Annotated[
        list[str] | None,
        Option("--lan", metavar="IFACE", help="An inside interface of this gateway (may be repeated)."),
    ] = None,
    up: Annotated[
        str | None,
        Option("--up", metavar="RATE", help="The line's bandwidth out, a bit below what it carries: 5mbit."),
    ] = None,
    down: Annotated[str | None, Option("--down", metavar="RATE", help="The line's bandwidth in: 20mbit.")] = None,
    queue: Annotated[
        Discipline, Option("--queue", help="Which queues to set up (default: the best that this kernel has).")
    ] = Discipline.AUTO,
    overhead: Annotated[
        int, Option("--overhead", metavar="BYTES", help="Bytes that the line adds to every packet (PPPoE: 8).")
    ] = 0,
    atm: Annotated[bool, Option("--atm", help="The line carries ATM cells (ADSL).")] = False,
    policy: PolicyOption = None,
    mark_only: Annotated[bool, Option("--mark-only", help="Set marks and DSCP, leave the queues alone.")] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Print the firewall's table and the queues' commands, and do nothing.")
    ] = False,
    clear: Annotated[bool, Option("--clear", help="Take away all that an earlier run may have left, and end.")] = False,
    watch: Annotated[
        list[str] | None,
        Option("--watch", metavar="IFACE", help="What to watch (default: --lan, else -i; may be repeated)."),
    ] = None,
    source: Annotated[
        SourceKind, Option("--source", help="Packets of interfaces, or the kernel's list of connections.")
    ] = SourceKind.PACKETS,
    json: JsonOption = False,
    output_file: OutputOption = None,
    scope: ScopeOption = None,
    exclude: ExcludeOption = None,
    passive: Annotated[bool, Option("--passive", help="Ask nothing; label only what shows itself.")] = False,
    ask_as_peer: AsPeerOption = False,
    duration: Annotated[
        float | None, Option("--duration", metavar="S", min=0.0, help="Stop after this many seconds.")
    ] = None,
    store: StoreOption = None,
    signatures: SignaturesOption = None,
    recog: RecogOption = None,
    config: ConfigOption = None,
    verbose: VerboseOption = 0,
) -> int:
    """Watch, and treat each flow as its label deserves: marks, DSCP and queues, for both directions.

    Needs root. What is set up is taken away at the end; after a crash traffic flows on, and `--clear` tidies up.
    """
    from flowsonar.app.shapeplan import clear as cleared

    if clear:
        for line in cleared():
            print(line)
        return 0
    settings = settings_from(
        config,
        scope=scope,
        exclude=exclude,
        store=store,
        signatures=signatures,
        recog=recog,
        passive=passive,
        ask_as_peer=ask_as_peer,
        verbose=verbose,
    )
    planned = _planned(
        interface, lan or [], up, down, queue, overhead, atm=atm, policy=policy, mark_only=mark_only, settings=settings
    )
    if dry_run:
        print(planned.text(), end="")
        return 0
    if planned.queues is not None:
        for reason in planned.queues.reasons:
            warn(reason)
    names = _watched(watch, lan, interface, source)

    def again() -> ShapePlan:
        return _planned(
            interface, lan or [], up, down, queue, overhead, atm=atm, policy=policy, mark_only=mark_only,
            settings=settings,
        )  # fmt: skip

    return _shape(planned, names, settings, json=json, output_file=output_file, duration=duration, again=again)


def _planned(
    interface: str | None,
    lan: list[str],
    up: str | None,
    down: str | None,
    queue: Discipline,
    overhead: int,
    *,
    atm: bool,
    policy: Path | None,
    mark_only: bool,
    settings: Settings,
) -> ShapePlan:
    """Policy, firewall and queues as the options ask for. Raises ConfigError where they do not agree."""
    from flowsonar.app.shapeplan import plan_shaping
    from flowsonar.cli.policy import policy_from
    from flowsonar.shaping.kernel import examine
    from flowsonar.shaping.queues import Line

    rates = up is not None or down is not None
    if mark_only and rates:
        raise ConfigError("--mark-only leaves the queues alone: leave --up and --down out")
    if rates and interface is None:
        raise ConfigError("--up and --down are of a line: name its interface with -i")
    chosen = policy_from(policy, settings)
    lines = []
    if interface is not None:
        lines = [
            Line(
                wan=interface,
                up_kbit=_kbit("--up", up),
                down_kbit=_kbit("--down", down),
                lan=tuple(lan),
                discipline=queue,
                overhead=overhead,
                atm=atm,
            )
        ]
    kernel = examine() if rates and queue is not Discipline.NONE else None
    return plan_shaping(chosen, lines, kernel=kernel)


def _kbit(option: str, text: str | None) -> int | None:
    """`20mbit` as 20000."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)\s*([a-z]*?)(?:/s|ps)?", text.strip().lower())
    if found is None or found[2] not in _UNITS or not (kbit := round(float(found[1]) * _UNITS[found[2]])):
        raise ConfigError(f"{option} {text}: write a bandwidth like 20mbit or 512kbit")
    return kbit


def _watched(watch: list[str] | None, lan: list[str] | None, interface: str | None, source: SourceKind) -> list[str]:
    if source is SourceKind.CONNTRACK:
        if watch:
            raise ConfigError("--source conntrack sees the whole machine: leave --watch out")
        return []
    names = watch or lan or ([interface] if interface else [])
    if not names:
        raise ConfigError("which interface? name the line's with -i, inside ones with --lan (`ip link` lists them)")
    return names


def _shape(
    planned: ShapePlan,
    names: list[str],
    settings: Settings,
    *,
    json: bool,
    output_file: Path | None,
    duration: float | None,
    again: Callable[[], ShapePlan],
) -> int:
    from flowsonar.app.classrows import ClassRows
    from flowsonar.app.shaping import Shaping
    from flowsonar.app.watching import Watching
    from flowsonar.outputs import Format
    from flowsonar.shaping.journal import Journal, beside
    from flowsonar.verdicts.store import default_path

    form = form_of(json=json, form=None, output=output_file)
    if form not in (Format.TABLE, Format.JSON):
        raise ConfigError(f"--output {output_file}: shape writes JSON lines: end it in .jsonl")
    shaping = Shaping(planned, journal=Journal(beside(settings.store or default_path())))
    watching = Watching(names, replace(settings, dry_run=False), duration_s=duration, shaping=shaping)
    rows = ClassRows(planned)

    def begin() -> bool:
        return _begin(names, shaping, again)

    try:
        if form is Format.JSON:
            run(lambda: _lines(watching, shaping, rows, output_file, begin), watching.stop)
        else:
            run(lambda: _screen(watching, shaping, rows, begin), watching.stop)
    finally:
        rows.close()
    return 0


def _begin(names: list[str], shaping: Shaping, again: Callable[[], ShapePlan]) -> bool:
    """Tell that everything stands: reading the signatures and looking at the kernel takes a moment."""
    if not _has_terminal():
        signal.signal(signal.SIGHUP, lambda *_: shaping.renew(again))
    warn(f"shaping; watching {', '.join(names) or 'connection tracking'}; Ctrl-C takes all away")
    return True


def _has_terminal() -> bool:
    """Whether SIGHUP says that the terminal is gone; to a service it says that its configuration has changed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


async def _lines(
    watching: Watching, shaping: Shaping, rows: ClassRows, file: Path | None, begin: Callable[[], bool]
) -> None:
    """Records and marks as JSON lines."""
    from flowsonar.outputs.jsonlines import JsonOutput
    from flowsonar.outputs.marks import encode_classes, encode_mark
    from flowsonar.shaping.classes import dscp_name

    def classes(last: bool) -> bytes:
        found = rows.last(shaping.flows()) if last else rows.rows(shaping.flows())
        return encode_classes(found, time_ns=time.time_ns(), by_rule=shaping.by_rule(), counts=shaping.counters())

    stream = None if file is None else file.open("wb")
    output = JsonOutput(live=True, stream=stream, name="standard output" if file is None else str(file), close=True)
    with output:
        begun = False
        said, due_s, ending = 0, time.monotonic() + _CLASSES_S, b""
        async for batch in watching.batches():
            begun = begun or begin()
            marks, shaping.records = shaping.records, []
            lines = [encode_mark(one, None if one.dscp is None else dscp_name(one.dscp)) for one in marks]
            if time.monotonic() >= due_s - 1:  # read beside the run, so a moment before
                rows.rows(shaping.flows())
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + _CLASSES_S
                lines.append(classes(last=False))
            output.write_ended([*batch, *lines])
            output.flush()
            for problem in watching.problems[said:]:
                output.problem(problem)
            said = len(watching.problems)
            if watching.ending and not ending:
                ending = classes(last=True)
        output.write_ended([ending] if ending else [])
        for problem in watching.problems[said:]:
            output.problem(problem)


async def _screen(watching: Watching, shaping: Shaping, rows: ClassRows, begin: Callable[[], bool]) -> None:
    """The classes as a table, marks as lines."""
    from flowsonar.outputs.classtable import ClassTable
    from flowsonar.outputs.marks import mark_line
    from flowsonar.shaping.classes import dscp_name

    with ClassTable() as table:
        said, begun = 0, False
        last = rows.rows({})
        async for _ in watching.batches():
            begun = begun or begin()
            marks, shaping.records = shaping.records, []
            for one in marks:
                table.say(mark_line(one, None if one.dscp is None else dscp_name(one.dscp)))
            current = rows.rows(shaping.flows())
            table.refresh(lambda current=current: current)  # type: ignore[misc]
            for problem in watching.problems[said:]:
                table.problem(problem)
            said = len(watching.problems)
            if watching.ending:
                last = rows.last(shaping.flows())
        for problem in watching.problems[said:]:
            table.problem(problem)
        table.summary(last, shaping.by_rule())
