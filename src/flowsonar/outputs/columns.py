"""Records in columns: Apache Arrow streams and Parquet files, through pyarrow (an optional part of the install)."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import IO, TYPE_CHECKING, Any, Final, Self

from flowsonar.errors import ConfigError, OutputError
from flowsonar.model import EndpointRecord, Evidence, FlowRecord
from flowsonar.outputs.flat import Row, flat
from flowsonar.outputs.quiet import QuietOutput

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ArrowOutput", "ColumnsOutput", "ParquetOutput", "batch", "schema"]

BATCH_ROWS: Final = 1 << 14
"""Rows of one Arrow batch or Parquet row group: columns long enough to compress well, some 10 MB."""

_EVIDENCE: Final = ("kind", "service", "confidence", "side", "over", "probe", "signature", "detail")


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ConfigError("Arrow and Parquet need pyarrow: pip install 'flowsonar[columns]'") from error
    return pyarrow


def schema() -> pa.Schema:
    """The columns, in order; their names are the fields of `Row`. Raises ConfigError where pyarrow is missing."""
    pa = _pyarrow()
    text, few = pa.string(), pa.dictionary(pa.int32(), pa.string())
    time = pa.timestamp("ns", "UTC")
    evidence = pa.list_(pa.struct([(name, text) for name in _EVIDENCE]))
    kinds: dict[str, Any] = dict.fromkeys(Row._fields, text)
    kinds |= dict.fromkeys(("timestamp", "start", "end"), time)
    kinds |= dict.fromkeys(("event_type", "in_iface", "proto", "state", "reason", "service", "over"), few)
    kinds |= dict.fromkeys(("traffic_class", "confidence", "outcome"), few)
    kinds |= dict.fromkeys(
        ("flow_id", "pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient"), pa.uint64()
    )
    kinds |= dict.fromkeys(("vlan", "src_port", "dest_port"), pa.uint16())
    kinds |= dict.fromkeys(("hops", "conflicts"), pa.list_(text))
    kinds |= {"verdict_ms": pa.float64(), "midstream": pa.bool_(), "evidence": evidence}
    return pa.schema([(_name(name), kinds[name]) for name in Row._fields])


def batch(records: Iterable[FlowRecord | EndpointRecord]) -> pa.RecordBatch:
    """Records as one Arrow batch. Raises ConfigError where pyarrow is missing."""
    return _batch([flat(record) for record in records], schema())


def _batch(rows: list[Row], columns: pa.Schema) -> pa.RecordBatch:
    pa = _pyarrow()
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = []
    for name, column, field in zip(Row._fields, values, columns, strict=True):
        if name == "evidence":
            arrays.append(_evidence(column, field.type))
        elif name in ("timestamp", "start", "end"):
            times = [None if value is None else min(value, (1 << 63) - 1) for value in column]
            arrays.append(pa.array(times, field.type))
        else:
            arrays.append(_array(column, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def _array(cells: Sequence[Any], kind: pa.DataType) -> pa.Array:
    pa = _pyarrow()
    try:
        return pa.array(cells, kind)
    except UnicodeEncodeError:  # a peer said what is no text
        return pa.array([_text(cell) for cell in cells], kind)


def _evidence(column: Sequence[tuple[Evidence, ...]], kind: pa.ListType) -> pa.ListArray:
    """All pieces as one structure of arrays, and where each row's begin."""
    pa = _pyarrow()
    pieces = list(chain.from_iterable(column))
    fields = [_array([getattr(piece, name) for piece in pieces], pa.string()) for name in _EVIDENCE]
    begins = pa.array([0, *accumulate(map(len, column))], pa.int32())
    return pa.ListArray.from_arrays(begins, pa.StructArray.from_arrays(fields, fields=list(kind.value_type)))


def _name(field: str) -> str:
    return "class" if field == "traffic_class" else field


def _text(cell: Any) -> Any:
    if isinstance(cell, tuple):
        return tuple(map(_text, cell))
    return cell.encode("utf-8", "backslashreplace").decode() if isinstance(cell, str) else cell


class ColumnsOutput(QuietOutput):
    """A context manager with the methods of `LinesOutput`: gathers rows and writes them `BATCH_ROWS` at a time."""

    def __init__(self, stream: IO[bytes] | None = None, name: str = "standard output", *, close: bool = False) -> None:
        """Write to `stream`, by default standard output. Raises ConfigError where pyarrow is missing."""
        self.schema = schema()
        self._stream = stream or sys.stdout.buffer
        self._close = close
        self._name = name
        self._rows: list[Row] = []
        self._writer: Any = None

    @abstractmethod
    def _open(self, stream: IO[bytes]) -> Any:
        """Make the writer: `write_batch` and `close` are called."""

    def __enter__(self) -> Self:
        with self._told():
            self._writer = self._open(self._stream)
        return self

    def __exit__(self, *failure: object) -> None:
        with self._told():  # what was gathered is kept even where the run failed
            self.flush()
            self._writer.close()
            if self._close:
                self._stream.close()
            else:
                self._stream.flush()

    def write(self, records: Iterable[FlowRecord | EndpointRecord]) -> None:
        """Take records. Raises BrokenPipeError when the reader has gone, OutputError where they cannot be written."""
        self._rows.extend(map(flat, records))
        if len(self._rows) >= BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        rows, self._rows = self._rows, []
        if rows:
            with self._told():
                self._writer.write_batch(_batch(rows, self.schema))

    def _told(self) -> _Told:
        return _Told(self._name)


class _Told:
    """Turns a failing write into the one line that says where and what to do."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            why = error.strerror or error
            raise OutputError(f"{self._name}: records cannot be written ({why}): check where it goes") from error


class ArrowOutput(ColumnsOutput):
    """An Arrow IPC stream: batches can be read while the run goes on."""

    def _open(self, stream: IO[bytes]) -> Any:
        return _pyarrow().ipc.new_stream(stream, self.schema)


class ParquetOutput(ColumnsOutput):
    """A Parquet file, complete when the run ends."""

    def _open(self, stream: IO[bytes]) -> Any:
        _pyarrow()
        from pyarrow import parquet

        return parquet.ParquetWriter(stream, self.schema, compression="zstd")
