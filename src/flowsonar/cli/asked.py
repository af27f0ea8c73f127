"""The ways `flowsonar probe` gives its answers: records of endpoints, labelled flow records, or plans."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from flowsonar.app.labelling import Labelling
from flowsonar.app.probing import Probing
from flowsonar.app.resuming import Before, open_result
from flowsonar.cli.common import warn
from flowsonar.cli.inputs import lines_of, opened
from flowsonar.config import Settings
from flowsonar.errors import ConfigError
from flowsonar.model import Confidence, EndpointRecord, Outcome
from flowsonar.outputs import Format, open_output
from flowsonar.outputs.jsonlines import JsonOutput
from flowsonar.outputs.lines import LineWriter
from flowsonar.outputs.plans import plan_line
from flowsonar.outputs.progress import cleared
from flowsonar.outputs.unidentified import answers_of
from flowsonar.probes.flowlines import FlowLine
from flowsonar.probes.targetlines import TargetLines, targets_of
from flowsonar.probes.targets import Expression, Target, parse_target

if TYPE_CHECKING:
    from flowsonar.outputs.columns import ColumnsOutput
    from flowsonar.outputs.linesoutput import LinesOutput
    from flowsonar.outputs.table import TableOutput

__all__ = ["Asked", "Endpoints", "Plans", "Records", "Sources"]

_TOLD: Final = 10
"""Reasons for not asking, and unidentified endpoints, that are told; further ones are counted."""


class Sources:
    """Where targets and flow records come from. What is wrong in the arguments is told at once (ConfigError)."""

    def __init__(
        self, names: Iterable[str], files: Iterable[str], *, flows_only: bool, tell: Callable[[str], None]
    ) -> None:
        self._parts: list[Expression | tuple[int, TargetLines]] = []
        for name in files:
            self._parts.append((opened(name), TargetLines(name, tell, flows_only=flows_only)))
        for name in names:
            if name == "-" or _is_file(name):
                title = "standard input" if name == "-" else name
                self._parts.append((opened(name), TargetLines(title, tell, flows_only=flows_only)))
            elif flows_only:
                raise ConfigError(f"{name!r}: --label needs flow records: name a file that is there, or -")
            else:
                self._parts.append(parse_target(name))
        if not self._parts:
            raise ConfigError("nothing to ask: name a target (host:port), a file, or - for standard input")

    @property
    def total(self) -> int | None:
        """How many targets there are, where that is known before."""
        lengths = [len(part) for part in self._parts if isinstance(part, Expression)]
        return sum(lengths) if len(lengths) == len(self._parts) else None

    async def items(self) -> AsyncIterator[Expression | FlowLine]:
        """Expressions and flow records, one after another."""
        for part in self._parts:
            if isinstance(part, Expression):
                yield part
                continue
            descriptor, reader = part
            async for line in lines_of(descriptor):
                if line is None:
                    reader.too_long()
                elif (item := reader.item(line)) is not None:
                    yield item

    async def targets(self) -> AsyncIterator[Target]:
        """Whom to ask."""
        async for item in self.items():
            for target in targets_of(item):
                yield target

    async def records(self) -> AsyncIterator[FlowLine]:
        """Flow records alone."""
        async for item in self.items():
            if isinstance(item, FlowLine):
                yield item

    @property
    def bad(self) -> int:
        """Lines that were neither target nor record."""
        return sum(reader.bad for reader in self._readers())

    @property
    def nobody(self) -> int:
        """Flow records that name nobody to ask."""
        return sum(reader.nobody for reader in self._readers())

    def problems(self) -> list[str]:
        """What is to be told at the end."""
        return [problem for reader in self._readers() if (problem := reader.problem())]

    def _readers(self) -> list[TargetLines]:
        return [part[1] for part in self._parts if not isinstance(part, Expression)]


def _is_file(name: str) -> bool:
    """Whether a name is that of something to read: a target has a colon, which few files have."""
    if "/" not in name and ":" in name:
        return False
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


class Asked(Protocol):
    """One way of giving answers; a context manager."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Write what waits."""

    async def go(self) -> None:
        """Ask everything."""

    def stop(self) -> None:
        """End early."""

    def progress(self) -> tuple[int, int | None]:
        """How many are done, of how many where that is known."""

    def told(self) -> int:
        """Say at the end what there was; the exit code."""


class _Common:
    def __init__(self, sources: Sources, probing: Probing) -> None:
        self._sources = sources
        self._probing = probing
        self._stack = ExitStack()
        self._counts: Counter[str] = Counter()
        self._refusals: dict[str, tuple[int, str]] = {}
        self._unknown: list[str] = []
        self._unknowns = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)

    def progress(self) -> tuple[int, int | None]:
        """See `Asked`."""
        total = self._sources.total
        return self._probing.done + self._probing.skipped, total

    def _count(self, record: EndpointRecord) -> None:
        if record.outcome is Outcome.NOT_PERMITTED:
            self._counts["not permitted"] += 1
            address = record.endpoint.address
            reason = record.detail.replace(address, "*")
            count, example = self._refusals.get(reason, (0, ""))
            if reason in self._refusals or len(self._refusals) < 1000:
                where = f"[{address}]" if ":" in address else address
                text = example or f"{where}:{record.endpoint.port}/{record.endpoint.transport}: {record.detail}"
                self._refusals[reason] = count + 1, text
        elif record.outcome is Outcome.CANCELLED:
            self._counts["cancelled"] += 1
        elif record.verdict.confidence is not Confidence.UNKNOWN:
            self._counts[record.verdict.confidence.value] += 1
        else:
            self._counts["unidentified" if record.outcome is Outcome.ANSWERED else record.outcome.value] += 1
            answers = answers_of(record)
            self._unknowns += bool(answers)
            if answers and len(self._unknown) < _TOLD:
                self._unknown.append(answers)

    def _tell(self) -> int:
        for answers in self._unknown:
            warn(answers)
        if self._unknowns > len(self._unknown):
            warn(f"{self._unknowns - len(self._unknown)} more that answered were not identified; --json has them all")
        reasons = sorted(self._refusals.values(), reverse=True)
        for count, example in reasons[:_TOLD]:
            warn(f"not asked: {example}" + (f" (and {count - 1} more)" if count > 1 else ""))
        if len(reasons) > _TOLD:
            warn(f"not asked for {len(reasons) - _TOLD} other reasons; --json has them all")
        probing = self._probing
        problems = [*probing.problems, *self._sources.problems()]
        if probing.more_problems:
            problems.append(f"{probing.more_problems} more problems")
        for problem in (*problems, *probing.notes):
            warn(problem)
        return len(problems) + self._sources.bad

    def _sum(self) -> None:
        counts = [f"{count} {name}" for name, count in self._counts.most_common()]
        if self._probing.skipped:
            counts.append(f"{self._probing.skipped} known from before")
        if self._sources.nobody:
            counts.append(f"{_count(self._sources.nobody, 'flow record')} with nobody to ask")
        if self._sources.bad:
            counts.append(f"{_count(self._sources.bad, 'line')} not understood")
        if self._probing.total + self._probing.skipped != 1 or self._sources.nobody or self._sources.bad:
            asked = _count(self._probing.total, "endpoint")
            nothing = "stopped before anything was asked" if self._probing.stopped else "nothing to ask was found"
            warn(f"{asked}: {', '.join(counts)}" if counts else nothing)
        if self._probing.done > 1:
            for line in self._probing.thrift:
                warn(line)

    def _code(self, problems: int) -> int:
        """1 where something was not done that was asked for, and where nothing could be."""
        if problems or self._probing.stopped:
            return 1
        done = self._probing.done - self._counts["not permitted"] - self._counts["cancelled"]
        return 0 if done or self._probing.skipped else 1


class Endpoints(_Common):
    """A record for each endpoint."""

    def __init__(self, sources: Sources, settings: Settings, *, json: bool, output: Path | None, resume: bool) -> None:
        before = Before()
        self._into = None
        if output is not None:
            self._into, before = open_result(output, resume=resume)
        super().__init__(sources, Probing(sources.targets(), settings, known=before.answered))
        self._output: TableOutput | LinesOutput | ColumnsOutput
        if self._into is not None:
            self._stack.enter_context(self._into)
            self._output = JsonOutput(live=False, stream=self._into, name=str(output))
        else:
            self._output = open_output(Format.JSON if json else Format.TABLE, live=False)
        self._stack.push(self._output.__exit__)
        self._output.__enter__()

    async def go(self) -> None:
        """Write records as they come; where a file can be gone on with, none that was cancelled."""
        async for records in self._probing.batches():
            for record in records:
                self._count(record)
            whole = self._into is None
            self._output.write([one for one in records if whole or one.outcome is not Outcome.CANCELLED])
            self._output.flush()

    def stop(self) -> None:
        """See `Asked`."""
        self._probing.stop()

    def told(self) -> int:
        """See `Asked`."""
        problems = self._tell()
        self._sum()
        if self._into is not None and self._probing.stopped:
            warn(f"ended early: the same command with --resume goes on with {self._into.name}")
        return self._code(problems)


class Records(_Common):
    """A line for each flow record, with its label."""

    def __init__(self, sources: Sources, settings: Settings, *, output: Path | None, resume: bool) -> None:
        before, self._into = Before(), None
        if output is not None:
            self._into, before = open_result(output, resume=resume)
        self._labelling = Labelling(sources.records(), settings, skip=before.lines, labels=before.labels)
        super().__init__(sources, self._labelling.probing)
        if self._into is not None:
            self._stack.enter_context(self._into)
        stream = self._into or sys.stdout.buffer
        self._lines = LineWriter(stream, str(output or "standard output"), before=cleared)

    async def go(self) -> None:
        """See `Asked`."""
        async for lines in self._labelling.batches():
            for line in lines:
                self._lines.write(line)
            self._lines.flush()
            for record in self._labelling.answered:
                self._count(record)
            self._labelling.answered.clear()
        for record in self._labelling.answered:
            self._count(record)

    def stop(self) -> None:
        """See `Asked`."""
        self._labelling.stop()

    def told(self) -> int:
        """See `Asked`."""
        problems = self._tell()
        self._sum()
        warn(f"{self._labelling.written} flow records labelled")
        if self._into is not None and self._probing.stopped:
            warn(f"ended early: the same command with --resume goes on with {self._into.name}")
        code = self._code(problems)
        return code if problems or self._probing.stopped or not self._labelling.written else 0


class Plans(_Common):
    """What would be asked; sends nothing."""

    def __init__(self, sources: Sources, settings: Settings, *, json: bool) -> None:
        super().__init__(sources, Probing(sources.targets(), settings, keep=False))
        self._json = json
        self._lines = LineWriter(sys.stdout.buffer, before=cleared)
        self._planned = 0

    async def go(self) -> None:
        """See `Asked`."""
        async for records in self._probing.batches():
            for question, moves in self._probing.planned:
                self._planned += 1
                self._lines.write(plan_line(question.endpoint, moves, json=self._json))
            self._probing.planned.clear()
            for record in records:
                if record.detail != "dry run":
                    self._count(record)
            self._lines.flush()

    def stop(self) -> None:
        """See `Asked`."""
        self._probing.stop()

    def told(self) -> int:
        """See `Asked`."""
        problems = self._tell()
        planned = _count(self._planned, "endpoint")
        warn(f"{planned} would be asked, {self._counts['not permitted']} not permitted; nothing was sent")
        if self._probing.stopped:
            warn("ended early: there were more targets")
        return 1 if problems or self._probing.stopped or not self._planned else 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
