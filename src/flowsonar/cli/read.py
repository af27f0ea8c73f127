"""`flowsonar read`: captures."""

from __future__ import annotations

from typing import Annotated

from flowsonar.cli import process
from flowsonar.cli.arguments import Argument, Option
from flowsonar.cli.common import (
    ConfigOption,
    ExcludeOption,
    FormatOption,
    JsonOption,
    OutputOption,
    RecogOption,
    ScopeOption,
    SignaturesOption,
    VerboseOption,
    exits,
    form_of,
    run,
    settings_from,
    warn,
)
from flowsonar.errors import ConfigError

__all__ = ["read"]


@exits
def read(
    capture: Annotated[
        list[str], Argument(metavar="FILE...", help="pcap or pcapng, gzip'd or not; - is standard input.")
    ],
    json: JsonOption = False,
    form: FormatOption = None,
    output_file: OutputOption = None,
    probe: Annotated[
        bool, Option("--probe", help="Ask the endpoints now, inside the scope; the capture should be fresh.")
    ] = False,
    workers: Annotated[
        int, Option("--workers", metavar="N", help="Processes that share the work (0: one on each core).")
    ] = 1,
    scope: ScopeOption = None,
    exclude: ExcludeOption = None,
    signatures: SignaturesOption = None,
    recog: RecogOption = None,
    config: ConfigOption = None,
    verbose: VerboseOption = 0,
) -> int:
    """Label the flows of captures. Passive unless `--probe` is given.

    A damaged capture gives every whole packet before the damage, one line that says so, and exit code 1.
    """
    from flowsonar import _native
    from flowsonar.app import Reading
    from flowsonar.outputs import open_output, open_progress
    from flowsonar.outputs.jsonlines import JsonOutput

    kind = form_of(json=json, form=form, output=output_file)
    settings = settings_from(
        config, scope=scope, exclude=exclude, signatures=signatures, recog=recog, verbose=verbose, logs=probe
    )
    if _native.stale:
        warn(f"packets are read in Python, some hundred times slower: {_native.reason}")
    count = 1
    if workers != 1:
        from flowsonar.app.workers import workers_of

        count = workers_of(workers)
        if probe and count > 1:
            raise ConfigError("--probe asks from one process: leave --workers out")
    with open_progress() as progress, open_output(kind, live=False, file=output_file) as output:
        if count > 1:
            from flowsonar.app.workers import WorkerReading

            reading: Reading = WorkerReading(capture, settings, workers=count, progress=progress)
        else:
            reading = Reading(capture, settings, progress=progress)

        async def asking() -> None:
            async for batch in reading.asking():
                output.write(batch)

        process.collect_rarely()
        with process.stopped_by_signals(reading.stop):
            if probe:
                run(asking)
            elif isinstance(output, JsonOutput):
                for ended in reading.lines():
                    output.write_ended(ended)
            else:
                from flowsonar.outputs.decode import records

                for ended in reading.lines(whole=True):
                    output.write(records(ended))
        progress.close()
        output.summary(reading.counters)
    for problem in reading.problems:
        warn(problem)
    return 1 if reading.problems else 0
