import io

from flowsonar.outputs.linesoutput import LinesOutput
from tests.outputs.samples import endpoint, flow


class Names(LinesOutput):
    def heading(self):
        return b"names\n"

    def line(self, record):
        return b"" if record.type == "endpoint" else b"flow\n"

    def ending(self):
        return b"end\n"


def test_heading_lines_and_ending():
    stream = io.BytesIO()
    with Names(live=False, stream=stream) as output:
        output.write([flow(), endpoint(), flow()])
    assert stream.getvalue() == b"names\nflow\nflow\nend\n"


def test_a_file_is_closed_where_asked(tmp_path):
    with (tmp_path / "names").open("wb") as stream, Names(live=True, stream=stream, close=True):
        pass
    assert stream.closed
    assert (tmp_path / "names").read_bytes() == b"names\nend\n"
