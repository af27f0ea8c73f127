"""What every command shares: settings from file and options, errors as one line, a clean end at Ctrl-C."""

from __future__ import annotations

import functools
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeVar

from flowsonar.cli import process
from flowsonar.cli.arguments import Option
from flowsonar.errors import ConfigError, FlowsonarError
from flowsonar.outputs import Format

if TYPE_CHECKING:
    import asyncio

    from flowsonar.config import Settings

__all__ = [
    "AsPeerOption",
    "ConfigOption",
    "ExcludeOption",
    "FormatOption",
    "JsonOption",
    "OutputOption",
    "ScopeOption",
    "SignaturesOption",
    "StoreOption",
    "VerboseOption",
    "exits",
    "form_of",
    "run",
    "settings_from",
    "warn",
]

P = ParamSpec("P")
T = TypeVar("T")
_ONE_WISH_S = 0.2

WARNING_LIMIT = 4096
"""Characters of one message: a path may be as long."""

ScopeOption = Annotated[
    list[str] | None,
    Option("--scope", metavar="CIDR", help="Also ask endpoints of this network (may be repeated)."),
]
ExcludeOption = Annotated[
    list[str] | None,
    Option(
        "--exclude", metavar="WHAT", help="Never ask this network, address, address:port or :port (may be repeated)."
    ),
]
JsonOption = Annotated[bool, Option("--json", help="JSON lines with Suricata's EVE field names.")]
FormatOption = Annotated[
    Format | None,
    Option("--format", help="How records are written (default: by the ending of --output, else a table)."),
]
OutputOption = Annotated[
    Path | None, Option("-o", "--output", metavar="FILE", help="Write records to this file instead.")
]
_ENDINGS = {
    ".json": Format.JSON,
    ".jsonl": Format.JSON,
    ".csv": Format.CSV,
    ".log": Format.CONN,
    ".arrow": Format.ARROW,
    ".arrows": Format.ARROW,
    ".parquet": Format.PARQUET,
    ".txt": Format.TABLE,
}
StoreOption = Annotated[
    Path | None, Option("--store", metavar="FILE", help="The verdict store (default: in the state directory).")
]
SignaturesOption = Annotated[
    list[Path] | None,
    Option("--signatures", metavar="DIR", help="A folder of further signature files (may be repeated)."),
]
RecogOption = Annotated[
    Path | None,
    Option("--recog", metavar="DIR", help="A copy of rapid7/recog, to name more products and versions."),
]
AsPeerOption = Annotated[
    bool,
    Option(
        "--ask-as-peer",
        help="Ask UDP endpoints that say nothing once more in the name of the flow's other side, as a gateway can.",
    ),
]
ConfigOption = Annotated[
    Path | None, Option("--config", metavar="FILE", help="A TOML file with all settings; options go over it.")
]
VerboseOption = Annotated[int, Option("-v", "--verbose", count=True, help="Say more; twice for still more.")]


def exits(command: Callable[P, int]) -> Callable[P, int]:
    """Make expected errors of a command one line on standard error and an exit code."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> int:
        return _guarded(lambda: command(*args, **kwargs))

    return guarded


def _guarded(call: Callable[[], int]) -> int:
    code = 1
    try:
        code = call()
    except ConfigError as error:
        warn(str(error))
        code = 2
    except FlowsonarError as error:
        warn(str(error))
    except BrokenPipeError:  # `flowsonar read ... | head`: the reader has enough
        code = 0
    except OSError as error:
        warn(process.said_by(error))
    except MemoryError:
        warn("the memory is used up: give it more, or name fewer interfaces and captures")
    except KeyboardInterrupt:
        code = 130
    process.ending()
    failed = process.finish_output()
    if failed is not None and not isinstance(failed, BrokenPipeError) and code == 0:
        warn(process.said_by(failed))
        code = 1
    return code


def form_of(*, json: bool, form: Format | None, output: Path | None) -> Format:
    """The format that the options ask for. Raises ConfigError where they do not agree."""
    if json and form not in (None, Format.JSON):
        raise ConfigError(f"--json and --format {form} exclude each other: give one of them")
    if form is not None or json:
        return form or Format.JSON
    if output is None:
        return Format.TABLE
    found = _ENDINGS.get(output.suffix.lower())
    if found is None:
        raise ConfigError(
            f"--output {output}: its ending names no format: add --format, or end it in .jsonl or .parquet"
        )
    return found


def warn(text: str) -> None:
    """One line for people on standard error."""
    from flowsonar.verdicts.visible import visible

    with suppress(OSError):  # nobody hears us
        print(f"flowsonar: {visible(text, WARNING_LIMIT)}", file=sys.stderr)


def settings_from(
    config: Path | None,
    *,
    scope: list[str] | None = None,
    exclude: list[str] | None = None,
    store: Path | None = None,
    signatures: list[Path] | None = None,
    recog: Path | None = None,
    passive: bool = False,
    ask_as_peer: bool = False,
    dry_run: bool = False,
    verbose: int = 0,
    logs: bool = True,
) -> Settings:
    """Settings of the file, with the options over them. Raises ConfigError naming file and key, or the option.

    `logs`: what the command runs may log; what does not is spared the import of `logging`, a tenth of the start.
    """
    from flowsonar.config import ScopeSettings, Settings
    from flowsonar.signatures import cachefile

    cachefile.tell_of_making(warn)

    if logs or verbose:
        import logging

        logging.basicConfig(
            level=(logging.ERROR, logging.INFO, logging.DEBUG)[min(verbose, 2)],
            format="flowsonar: %(levelname)s %(name)s: %(message)s",
        )
    settings = Settings()
    if config is not None:
        from flowsonar.settings_file import load_settings

        settings = load_settings(config)
    settings = replace(
        settings,
        scope=replace(
            settings.scope,
            allow=(*settings.scope.allow, *(scope or ())),
            exclude=(*settings.scope.exclude, *(exclude or ())),
        ),
        store=store or settings.store,
        signatures=(*settings.signatures, *(signatures or ())),
        recog=recog or settings.recog,
        passive=passive or settings.passive,
        ask_as_peer=ask_as_peer or settings.ask_as_peer,
        dry_run=dry_run or settings.dry_run,
    )
    if settings.scope != ScopeSettings():
        from flowsonar.probes.scope import Scope

        Scope(settings.scope)  # a wrong network is told before anything begins
    return settings


def run(main: Callable[[], Coroutine[object, object, T]], stop: Callable[[], None] | None = None) -> T:
    """Run a coroutine function; the first signal to end calls `stop`, a second one ends at once.

    Without `stop`, signals are left as they are.
    """
    import asyncio

    process.need_descriptors()
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None

    async def with_signals() -> T:
        if stop is None:
            return await main()
        loop = asyncio.get_running_loop()
        numbers = [number for number in process.ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]

        told_s: list[float] = []

        def once(number: int, _: object) -> None:
            # A service manager or a terminal that goes sends two signals at a time: they are one wish.
            now_s = time.monotonic()
            if not told_s:
                told_s.append(now_s)
                loop.call_soon_threadsafe(stop)
            elif now_s - told_s[0] > _ONE_WISH_S:
                process.leave_to_signals()
                signal.raise_signal(number)

        for number in numbers:  # not the loop's own handlers: they would wait while an output does not take its bytes
            signal.signal(number, once)
        return await main()

    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(with_signals())
    finally:
        if stop is not None:
            process.leave_to_signals()
