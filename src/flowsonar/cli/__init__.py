"""The command line: one module per command, each a thin user of the same interface that Python programs use."""

from __future__ import annotations

import typer

from flowsonar.cli import common, demo, doctor, explain, probe, process, query, read, signatures, watch

__all__ = ["app", "main"]

app = typer.Typer(
    name="flowsonar",
    help="Real-time traffic type detection by asking the endpoints. Run it on networks you are responsible for.",
    epilog="Begin with: flowsonar demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from flowsonar import __version__

        typer.echo(f"flowsonar {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Real-time traffic type detection by asking the endpoints. Run it on networks you are responsible for."""


app.command("watch", epilog="Example: flowsonar watch -i eth0 -i eth1 --scope 198.51.100.0/24")(watch.watch)
app.command("read", epilog="Example: flowsonar read day.pcap.gz --json > flows.jsonl")(read.read)
app.command("probe", epilog="Example: flowsonar probe 127.0.0.1:22 '[::1]:8080' 127.0.0.1:53/udp")(probe.probe)
app.command("query", epilog="Example: flowsonar query flows.parquet 'select name, count(*) from flows group by 1'")(
    query.query
)
app.command("explain", epilog="Example: flowsonar explain 192.168.1.10:51820/udp")(explain.explain)
app.add_typer(signatures.app, name="signatures")
app.command("demo", epilog="Example: flowsonar demo")(demo.demo)
app.command("doctor", epilog="Example: flowsonar doctor")(doctor.doctor)


def main() -> None:
    """Entry point of the `flowsonar` program. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    process.mend_streams()
    try:
        app(prog_name="flowsonar")
    except OSError as error:  # commands tell their own; what is left is help that nobody can read
        process.finish_output()
        common.warn(process.said_by(error))
        raise SystemExit(1) from None
