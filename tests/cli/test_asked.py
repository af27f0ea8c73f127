import asyncio
from pathlib import Path

import pytest

from flowsonar.cli.asked import Plans, Sources
from flowsonar.config import Settings
from flowsonar.errors import ConfigError


def sources(*names: str, files: tuple[Path, ...] = (), label: bool = False) -> Sources:
    return Sources(names, [str(file) for file in files], flows_only=label, tell=lambda _: None)


def test_expressions_and_files_one_after_another(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("192.0.2.3:1\n")

    async def targets() -> list[str]:
        return [target.host async for target in sources("192.0.2.1:1", str(path), files=(path,)).targets()]

    assert asyncio.run(targets()) == ["192.0.2.3", "192.0.2.1", "192.0.2.3"]


def test_how_many_is_known_without_files(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("")
    assert sources("192.0.2.0/24:1-10", "host:1").total == 2541
    assert sources("host:1", str(path)).total is None


def test_wrong_arguments() -> None:
    for names in ((), ("nonsense",), ("/no/such/file",)):
        with pytest.raises(ConfigError):
            sources(*names)
    with pytest.raises(ConfigError, match="flow records"):
        sources("192.0.2.1:1", label=True)
    with pytest.raises(ConfigError, match="cannot be read"):
        sources(files=(Path("/no/such/file"),))


def test_a_dry_run_that_was_ended_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with Plans(sources("127.0.0.1:1-9"), Settings(dry_run=True), json=False) as plans:
        plans.stop()
        asyncio.run(plans.go())
    assert plans.told() == 1
    assert "ended early" in capsys.readouterr().err
