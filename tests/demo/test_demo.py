import importlib.util
import signal
import subprocess
import sys

from flowsonar import demo


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "OpenSSL" else object())
    assert demo.run() == 1
    assert capsys.readouterr().err == "flowsonar: the demo needs pyOpenSSL: pip install 'flowsonar[demo]'\n"


def stage_is(monkeypatch, code):
    popen = subprocess.Popen
    commands = []

    def start(command):
        commands.append(command)
        return popen([sys.executable, "-c", code])

    monkeypatch.setattr(subprocess, "Popen", start)
    return commands


def test_the_stage_gets_the_options_and_gives_the_exit_code(monkeypatch, tmp_path):
    commands = stage_is(monkeypatch, "raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    assert demo.run(json=True, keep_capture="demo.pcapng", seconds=7) == 3
    assert commands[0][1:] == [
        "-m",
        "flowsonar.demo.stage",
        "--seconds",
        "7",
        "--json",
        "--keep-capture",
        str(tmp_path / "demo.pcapng"),
    ]


def test_a_stage_that_was_killed_is_a_failure(monkeypatch):
    stage_is(monkeypatch, f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})")
    assert demo.run() == 1
