import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowsonar.demo import stage
from flowsonar.demo.stage import Child, DemoError
from tests.needs import needs_root

COMMAND = [sys.executable, "-m", "flowsonar.demo.stage", "--json", "--seconds", "30"]


def with_child(scenario, *arguments):
    async def run():
        child = await Child.start("the child", *arguments)
        try:
            return await scenario(child)
        finally:
            await child.end()

    return asyncio.run(run())


def test_a_child_that_ends_early_is_told_with_its_last_words():
    with pytest.raises(DemoError, match=r"the child ended early: .*No module named"):
        with_child(lambda child: child.expect("ready"), "flowsonar.no_such_module")


def test_a_child_that_says_no_json_is_passed_over():
    with pytest.raises(DemoError, match="the child ended early: exit code"):
        with_child(lambda child: child.expect("ready"), "this")


def test_a_child_that_is_late(monkeypatch):
    monkeypatch.setattr(stage, "READY_S", 0.01)
    with pytest.raises(DemoError, match="did not start within"):
        with_child(lambda child: child.expect("ready"), "asyncio")


def test_a_child_that_does_not_listen_is_killed(monkeypatch):
    monkeypatch.setattr(stage, "END_S", 0.01)

    async def scenario(child):
        child.process.send_signal(signal.SIGSTOP)
        await child.end(signal.SIGWINCH)
        return child.process.returncode

    assert with_child(scenario, "asyncio") == -signal.SIGKILL


def folders():
    return set(Path(os.environ.get("TMPDIR", "/tmp")).glob("flowsonar-demo-*"))


@needs_root()
def test_the_whole_demo_labels_everything_right():
    before = folders()
    result = subprocess.run(COMMAND, capture_output=True, text=True, timeout=90, check=False)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    closing = records[-1]["demo"]
    wrong = [row for row in closing["services"] if row["judgement"] != "right"]
    assert (wrong, result.stderr) == ([], "")
    assert closing["right"] is True
    assert result.returncode == 0
    assert {"http/tls", "ftp", "skype"} <= {row["truth"] for row in closing["services"]}
    assert folders() <= before


@needs_root()
def test_an_interrupted_demo_leaves_nothing():
    before = folders()
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert json.loads(process.stdout.readline())["demo"]["truth"]
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
    assert len(children) == 3
    assert not [number for number in children if Path(f"/proc/{number}").exists()]
    assert folders() <= before
