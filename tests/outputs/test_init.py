import os
import pty
from pathlib import Path

import pytest

from flowsonar.errors import ConfigError
from flowsonar.outputs import Format, open_output


@pytest.mark.parametrize("form", [Format.ARROW, Format.PARQUET])
def test_columns_are_not_written_to_a_terminal(form: Format) -> None:
    leader, follower = pty.openpty()
    try:
        with pytest.raises(ConfigError, match="not for a terminal"):
            open_output(form, live=False, file=Path(os.ttyname(follower)))
    finally:
        os.close(leader)
        os.close(follower)
