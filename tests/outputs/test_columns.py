import io
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from flowsonar.errors import OutputError
from flowsonar.model import Verdict
from flowsonar.outputs import Format, open_output
from flowsonar.outputs.columns import ArrowOutput, ParquetOutput, batch
from tests.outputs.samples import HOSTILE, TIME_NS, endpoint, flow


def test_a_batch_holds_both_kinds_of_records():
    columns = batch([flow(), endpoint()])
    assert columns["event_type"].to_pylist() == ["flow", "endpoint"]
    assert columns["class"].to_pylist()[0] == "interactive"
    assert columns["timestamp"][0].value == TIME_NS
    assert columns["evidence"].to_pylist()[0][0]["probe"] == "ftp/features"
    assert columns["src_ip"].to_pylist()[1] is None


def test_no_records_are_no_rows():
    assert batch([]).num_rows == 0


def test_text_that_is_no_text_is_escaped():
    columns = batch([flow(verdict=Verdict(service="http", name=HOSTILE))])
    assert "\\udc80" in columns["name"].to_pylist()[0]


def test_a_time_beyond_the_column_is_its_end():
    assert batch([flow(time_ns=(1 << 64) - 1)]).num_rows == 1


def test_arrow_stream(tmp_path):
    stream = io.BytesIO()
    with ArrowOutput(stream) as output:
        output.write([flow()])
        output.flush()
        output.write([flow()])
    table = pa.ipc.open_stream(stream.getvalue()).read_all()
    assert table.num_rows == 2


def test_parquet_file_is_whole_even_where_the_run_failed(tmp_path):
    path = tmp_path / "flows.parquet"

    def fails() -> None:
        with open_output(Format.PARQUET, live=False, file=path) as output:
            output.write([flow()])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert parquet.read_table(path).num_rows == 1


def test_a_full_disk_is_told():
    def fails() -> None:
        with Path("/dev/full").open("wb", buffering=0) as full, ParquetOutput(full, "/dev/full") as output:
            output.write([flow()])

    with pytest.raises(OutputError, match="No space left"):
        fails()


def test_a_file_that_cannot_be_made(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        open_output(Format.PARQUET, live=False, file=tmp_path / "no" / "where.parquet")
