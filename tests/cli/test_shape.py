from pathlib import Path

import pytest

from flowsonar.cli.shape import _kbit, _watched
from flowsonar.cli.watch import SourceKind
from flowsonar.errors import ConfigError
from tests.cli.program import flowsonar
from tests.needs import needs_program, needs_root


@pytest.mark.parametrize(
    ("text", "kbit"),
    [("20mbit", 20000), ("512kbit", 512), ("1.5 Mbit/s", 1500), ("2gbit", 2_000_000), ("800", 800), ("5M", 5000)],
)
def test_bandwidths(text: str, kbit: int) -> None:
    assert _kbit("--up", text) == kbit
    assert _kbit("--up", None) is None


@pytest.mark.parametrize("text", ["", "fast", "0", "-5mbit", "5mbyte", "1e9", "99999999999"])
def test_what_is_no_bandwidth(text: str) -> None:
    with pytest.raises(ConfigError, match="--down"):
        _kbit("--down", text)


def test_what_is_watched() -> None:
    packets = SourceKind.PACKETS
    assert _watched(None, ["lan"], "wan", packets) == ["lan"]
    assert _watched(["other"], ["lan"], "wan", packets) == ["other"]
    assert _watched(None, None, "wan", packets) == ["wan"]
    assert _watched(None, ["lan"], "wan", SourceKind.CONNTRACK) == []
    for watch, source in ((None, packets), (["lan"], SourceKind.CONNTRACK)):
        with pytest.raises(ConfigError):
            _watched(watch, None, None, source)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--up", "5mbit"], b"name its interface with -i"),
        (["-i", "wan0", "--up", "5mbit", "--mark-only"], b"leave --up and --down out"),
        (["-i", "wan0", "--up", "much"], b"write a bandwidth"),
        (["-i", "wan0", "--policy", "none.toml"], b"cannot be read"),
        (["--mark-only"], b"which interface"),
        (["-i", "wan0", "--output", "x.csv"], b".jsonl"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], told: bytes, tmp_path: Path) -> None:
    found = flowsonar("shape", *arguments, home=tmp_path)
    assert found.returncode == 2
    assert told in found.stderr
    assert found.stderr.count(b"\n") == 1


def test_a_dry_run_prints_what_would_be_done(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('except = ["10.9.0.0/16"]\n')
    found = flowsonar("shape", "-i", "wan0", "--mark-only", "--dry-run", "--policy", str(tmp_path / "p.toml"))
    assert found.returncode == 0, found.stderr
    text = found.stdout.decode()
    assert 'table inet flowsonar {\n\tcomment "made by flowsonar shape"' in text
    assert "elements = { 10.9.0.0/16 }" in text
    assert "# left alone: marks only" in text


@needs_root()
@needs_program("tc")
def test_a_dry_run_with_bandwidths_prints_the_queues_too() -> None:
    found = flowsonar("shape", "-i", "wan0", "--lan", "lan0", "--up", "5mbit", "--down", "20mbit", "--dry-run")
    assert found.returncode == 0, found.stderr
    text = found.stdout.decode()
    assert "tc qdisc " in text
    assert 'oifname { "lan0" } iifname != { "wan0" }' in text
