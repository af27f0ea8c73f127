"""The brake's thread with a file for a counter and a shell script for tc."""

import os
import threading
from pathlib import Path

import pytest

from flowsonar.shaping.brake import HELD
from flowsonar.shaping.braking import Braking, braked
from flowsonar.shaping.queues import Line, plan

from .test_queues import FULL, SMALL


class Script:
    """Stands in for tc: writes down what it was told; a pipe tells of every line."""

    def __init__(self, folder: Path) -> None:
        self.told = folder / "told"
        os.mkfifo(self.told)
        self.end = os.open(self.told, os.O_RDWR)
        self.program = folder / "tc"
        self.program.write_text(f'#!/bin/sh\n[ "$2" = -batch ] && exec cat >{self.told}\necho "$@" >{self.told}\n')
        self.program.chmod(0o755)

    def line(self) -> str:
        found = b""
        while not found.endswith(b"\n"):
            found += os.read(self.end, 1)
        return found.decode().rstrip()


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def counting(tmp_path: Path, script: Script) -> tuple[Braking, Path]:
    counter = tmp_path / "rx_bytes"
    counter.write_text("0\n")
    place = braked(plan(SMALL, [Line(wan="wan", down_kbit=18_400, lan=("lan",))]).places)[0]
    return Braking(place, counter=counter, program=str(script.program)), counter


def flood(counter: Path, ended: threading.Event) -> None:
    octets = 0
    with counter.open("r+") as file:
        while not ended.wait(0.001):
            octets += 1_000_000
            file.seek(0)
            file.write(f"{octets}\n")
            file.flush()


def test_only_downloads_of_htb_have_a_brake() -> None:
    line = Line(wan="wan", up_kbit=5_000, down_kbit=20_000, lan=("lan",))
    assert [place.device for place in braked(plan(SMALL, [line]).places)] == ["lan"]
    assert braked(plan(FULL, [line]).places) == []


def test_a_flood_lowers_the_rate_and_the_end_sets_it_again(tmp_path: Path, script: Script) -> None:
    braking, counter = counting(tmp_path, script)
    ended = threading.Event()
    flooding = threading.Thread(target=flood, args=(counter, ended))
    flooding.start()
    braking.start()
    try:
        words = "class change dev lan parent 1: classid 1:1 htb rate {}kbit burst 3450 cburst 3450"
        assert script.line() == words.format(int(18_400 * HELD))
        braking.stop()
        lines = [script.line()]
        while lines[-1] != words.format(18_400):
            lines.append(script.line())
    finally:
        ended.set()
        flooding.join()
    assert braking.holds >= 1


def test_without_tc_and_without_a_counter_nothing_is_braked(tmp_path: Path, script: Script) -> None:
    for program, counter in ((str(tmp_path / "none"), None), (str(script.program), tmp_path / "gone")):
        place = braked(plan(SMALL, [Line(wan="wan", down_kbit=9_000, lan=("lan",))]).places)[0]
        braking = Braking(place, counter=counter, program=program)
        braking.start()
        braking.stop()
        assert braking.holds == 0
