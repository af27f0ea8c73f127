import pytest

from flowsonar.outputs.quiet import QuietOutput


class Silent(QuietOutput):
    flushed = 0

    def flush(self):
        self.flushed += 1


def test_people_are_told_on_standard_error(capsys):
    output = Silent()
    output.refresh(lambda: pytest.fail("no screen"))
    output.problem("a\x1b[2Jb")
    output.summary({"frames": 1, "kernel_drops": 2})
    told = capsys.readouterr()
    assert told.out == ""
    assert "a\\x1b[2Jb" in told.err
    assert "kernel_drops 2" in told.err
    assert output.flushed == 1
