from pathlib import Path

import pytest

from flowsonar.errors import ConfigError
from flowsonar.signatures import Matcher, check, load_signatures, render_scaffold


def test_the_scaffold_passes_the_check(tmp_path: Path) -> None:
    (tmp_path / "gopher2.toml").write_text(render_scaffold("gopher2"), encoding="utf-8")
    loaded = load_signatures([tmp_path], cache=tmp_path / "cache")
    assert "gopher2" in loaded.services
    assert check(loaded, Matcher(loaded, engine="re2")) == []


@pytest.mark.parametrize("name", ["", "Gopher", "go pher", "../x", "-x", "x-", "é"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ConfigError, match="no service name"):
        render_scaffold(name)
