"""Folders of signatures that are broken: the command says file and line, and does nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowsonar.errors import SignatureError
from flowsonar.signatures import load_signatures
from tests.hostile.running import flowsonar, one_line, surroundings

GOOD = b'service = "mine"\ntitle = "Mine"\nclass = "default"\nreferences = ["none"]\n'
REPLY = b'[[reply]]\nname = "yes"\nconfidence = "confirmed"\n'
BROKEN = {
    "not TOML": b"service = \n",
    "not UTF-8": GOOD + b"# \xff\xfe\n",
    "NUL": GOOD + b"\0",
    "nothing": b"",
    "an unknown key": GOOD + b"colour = 1\n",
    "a wrong type": GOOD + b"ports = 5\n",
    "a port too high": GOOD + b"ports = { tcp = [70000] }\n",
    "a broken expression": GOOD + REPLY + b"pattern = '^(abc'\n",
    "a large expression": GOOD + REPLY + b"pattern = '^((((a{100}){100}){100}){100})'\n",
    "an endless expression": GOOD + REPLY + b"pattern = '" + b"(a*)*" * 20000 + b"'\n",
    "deep nesting": GOOD + b"x = " + b"[" * 5000 + b"]" * 5000 + b"\n",
    "a huge number": GOOD + b"x = " + b"9" * 10000 + b"\n",
    "a megabyte": GOOD + b"# " + b"x" * (1 << 22) + b"\n",
    "the same key twice": GOOD + GOOD,
    "an escape sequence": b'service = "\\u001b[31m"\n' + GOOD.split(b"\n", 1)[1],
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "broken.toml").write_bytes(BROKEN[kind])
    with pytest.raises(SignatureError, match=r"broken\.toml:\d+: ") as told:
        load_signatures([tmp_path], cache=tmp_path / "cache")
    assert "\n" not in str(told.value)


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "sig"
    folder.mkdir()
    (folder / "broken.toml").write_bytes(BROKEN["an escape sequence"])
    result = flowsonar(tmp_path, "signatures", "list", "--signatures", folder)
    assert result.process.returncode == 1
    one_line(result.errors, b"broken.toml:1: ")
    assert b"\x1b" not in result.errors


def test_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty").mkdir()
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes" / "pipe.toml")
    for name, code in (("loop", 1), ("pipes", 1), ("empty", 0)):
        result = flowsonar(tmp_path, "signatures", "list", "--signatures", tmp_path / name)
        assert result.process.returncode == code, name
        if code:
            one_line(result.errors, name.encode())
    result = flowsonar(tmp_path, "watch", "-i", "lo", "--duration", "0", "--signatures", tmp_path / "nowhere")
    assert result.process.returncode == 1
    one_line(result.errors, b"nowhere")


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    environment = surroundings(tmp_path) | {"XDG_CACHE_HOME": str(tmp_path / "own")}
    first = flowsonar(tmp_path, "signatures", "list", "--json", environment=environment)
    for path in (tmp_path / "own" / "flowsonar").iterdir():
        path.write_bytes(os.urandom(1000))
    second = flowsonar(tmp_path, "signatures", "list", "--json", environment=environment)
    assert second.output == first.output
    assert first.output
