"""`flowsonar query`: SQL on records that were kept as Parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from flowsonar.cli.arguments import Argument
from flowsonar.cli.common import JsonOption, exits
from flowsonar.errors import ConfigError, FlowsonarError

__all__ = ["query"]

SUMMARY = """
select coalesce(service, 'unknown') as service, over, confidence, count(*) as flows,
       sum(bytes_toserver + bytes_toclient)::bigint as bytes
from flows where event_type = 'flow' group by all order by bytes desc nulls last, flows desc
"""
"""Asked where no SQL is given."""


@exits
def query(
    file: Annotated[Path, Argument(metavar="FILE", help="Parquet, as `read --output` makes it.")],
    sql: Annotated[
        str, Argument(metavar="SQL", help="DuckDB's SQL on the table `flows`; a summary by service if left out.")
    ] = SUMMARY,
    json: JsonOption = False,
) -> int:
    """Ask records that were kept as Parquet, through DuckDB: one table, `flows`, a row a record.

    Its columns are in docs/records.md.
    """
    names, rows = _ask(file, sql)
    if json:
        import orjson

        for row in rows:
            line = orjson.dumps(dict(zip(names, row, strict=True)), default=str, option=orjson.OPT_APPEND_NEWLINE)
            sys.stdout.buffer.write(line)
        return 0
    from rich.console import Console
    from rich.table import Table

    from flowsonar.verdicts.visible import visible

    table = Table(*names, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else visible(str(cell)) for cell in row))
    Console(highlight=False, markup=False).print(table)
    return 0


def _ask(file: Path, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    try:
        import duckdb
    except ImportError as error:
        raise ConfigError("query needs DuckDB: pip install 'flowsonar[columns]'") from error
    if not file.is_file():
        raise ConfigError(f"{file}: no such file: check the name")
    with duckdb.connect() as database:
        try:
            database.read_parquet(str(file)).create_view("flows")
            answer = database.execute(sql)
            names = [column[0] for column in answer.description or ()]
            return names, answer.fetchall()
        except duckdb.Error as error:
            raise FlowsonarError(f"{file}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
