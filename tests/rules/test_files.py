"""Every source file has a test file at the mirrored path."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "flowsonar"
TESTS = ROOT / "tests"

WITHOUT = {
    "model.py": "values without behaviour",
    "errors.py": "names only",
    "limits.py": "numbers only",
    "config.py": "values; docs/configuration.md is tested against it",
    "__main__.py": "one call",
    "cli/__main__.py": "one call",
    "flows/events.py": "values without behaviour",
    "signatures/language.py": "values without behaviour",
    "verdicts/cache.py": "a protocol without behaviour",
}


def test_every_source_file_has_a_test_file() -> None:
    missing = []
    for path in sorted(SOURCE.rglob("*.py")):
        where = path.relative_to(SOURCE)
        if path.name == "__init__.py" or where.as_posix() in WITHOUT:
            continue
        folder = "native" if where.parts[0] == "_native" else where.parent
        if not (TESTS / folder / f"test_{where.stem.lstrip('_')}.py").is_file():
            missing.append(where.as_posix())
    assert not missing


def test_the_exceptions_exist() -> None:
    assert all((SOURCE / name).is_file() for name in WITHOUT)


def test_no_source_file_is_too_long() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in (*SOURCE.rglob("*.py"), *SOURCE.rglob("*.c"))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 600
    }
    assert not long
