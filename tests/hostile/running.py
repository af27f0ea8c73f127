"""The real program as a process: its output awaited by content, its memory watched, its end demanded."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LIMIT_S = 30
"""Nothing here takes as long: what does has hung."""
_UNWANTED = re.compile(rb"Traceback|internal error|never awaited|Exception ignored|Assertion|was destroyed|ERROR")


class Running:
    """One `flowsonar` process. `home` holds its store and cache."""

    def __init__(
        self,
        home: Path,
        *arguments: str | Path,
        environment: dict[str, str] | None = None,
        before: Callable[[], None] | None = None,
        program: Sequence[str] = ("-m", "flowsonar"),
        **streams: Any,
    ) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self._lines: dict[str, list[bytes]] = {"out": [], "err": []}
        self._open = set()
        self._peak_mib = 0.0
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, *program, *self.arguments],
            stdin=streams.pop("stdin", subprocess.DEVNULL),
            stdout=streams.pop("stdout", subprocess.PIPE),
            stderr=streams.pop("stderr", subprocess.PIPE),
            env=surroundings(home) if environment is None else environment,
            preexec_fn=before,  # noqa: PLW1509 - it only makes system calls
            **streams,
        )
        self._threads = []
        for name, stream in (("out", self.process.stdout), ("err", self.process.stderr)):
            if stream is not None:
                self._open.add(name)
                thread = threading.Thread(target=self._gather, args=(name, stream), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _gather(self, name: str, stream: Any) -> None:
        for line in stream:
            self._weigh()
            with self._news:
                self._lines[name].append(line)
                self._news.notify_all()
        stream.close()
        with self._news:
            self._open.discard(name)
            self._news.notify_all()

    @property
    def output(self) -> bytes:
        with self._news:
            return b"".join(self._lines["out"])

    @property
    def errors(self) -> bytes:
        with self._news:
            return b"".join(self._lines["err"])

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.splitlines()]

    def await_line(self, pattern: bytes, stream: str = "out") -> bytes:
        """The first line that matches; fails where the stream ends or the time is over before."""
        wanted = re.compile(pattern)
        seen = 0
        deadline = time.monotonic() + LIMIT_S
        with self._news:
            while True:
                for line in self._lines[stream][seen:]:
                    if wanted.search(line):
                        return line
                seen = len(self._lines[stream])
                assert stream in self._open, (pattern, self._lines)
                assert self._news.wait(max(0.0, deadline - time.monotonic())), (pattern, self._lines)

    def await_capture(self, interfaces: int = 1) -> None:
        """Wait until its packet sockets stand in this network namespace: from then on no packet is missed."""
        until(lambda: self.process.poll() is not None or self.captures() == interfaces, "packet sockets")
        assert self.process.poll() is None, self.errors

    def captures(self) -> int:
        """How many packet sockets it has bound."""
        try:
            inodes = {_target(entry) for entry in Path(f"/proc/{self.process.pid}/fd").iterdir()}
        except OSError:  # it has just ended
            return 0
        table = Path("/proc/thread-self/net/packet").read_text(encoding="ascii").splitlines()[1:]
        rows = [line.split() for line in table]
        return sum(f"socket:[{row[8]}]" in inodes and row[5] == "1" for row in rows)

    def await_reading(self) -> None:
        """Wait until it has read all of its standard input that there is, and waits for more."""
        assert self.process.stdin is not None
        pipe = self.process.stdin.fileno()
        until(
            lambda: self.process.poll() is not None or (not _unread(pipe) and self._sleeps_in_read()),
            "the end of the pipe",
        )

    def _sleeps_in_read(self) -> bool:
        call = Path(f"/proc/{self.process.pid}/syscall").read_text(encoding="ascii").split()
        return call[:2] == ["0", "0x0"]

    def _weigh(self) -> None:
        """Note the most memory it had so far. One that has ended has none to tell: what was noted before stands."""
        with contextlib.suppress(OSError):
            found = re.search(rb"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_bytes())
            if found is not None:
                self._peak_mib = max(self._peak_mib, int(found[1]) / 1024)

    def peak_mib(self) -> float:
        """The most memory it had so far, as seen now or, where it has ended, with its last line that came before."""
        self._weigh()
        assert self._peak_mib, "it wrote no line while it ran"
        return self._peak_mib

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, number: int | None = None) -> int:
        """Send a signal, or none, and wait for the end; gives the exit code. Whatever it said is free of surprises."""
        if number is not None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError((self.arguments, "does not end", self.output[-2000:], self.errors[-2000:])) from None
        for thread in self._threads:
            thread.join(LIMIT_S)
        surprise = _UNWANTED.search(self.errors)
        assert surprise is None, self.errors.decode(errors="replace")
        return code

    def kill(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT_S)
        for thread in self._threads:
            thread.join(LIMIT_S)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _unread(pipe: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed meanwhile
        return ""


def surroundings(home: Path) -> dict[str, str]:
    """The environment of a user whose folders are in `home`."""
    return dict(
        os.environ, NO_COLOR="1", COLUMNS="160", XDG_STATE_HOME=str(home / "state"), XDG_CACHE_HOME=str(cache(home))
    )


_CACHE: list[Path] = []
COMPILING = """
from flowsonar.app.parts import Parts
from flowsonar.config import Settings

Parts.load(Settings()).matcher.prepare(replies=True, payloads=True)
"""


def cache(home: Path) -> Path:
    """One cache for all of these tests, with the signatures compiled: the first start says so and takes long."""
    if not _CACHE:
        _CACHE.append(home / "cache")
        environment = dict(os.environ, XDG_CACHE_HOME=str(_CACHE[0]))
        subprocess.run([sys.executable, "-c", COMPILING], env=environment, check=True)
    return _CACHE[0]


def flowsonar(home: Path, *arguments: str | Path, **more: Any) -> Running:
    """Run it to its end."""
    with Running(home, *arguments, **more) as running:
        running.end()
        return running


def until(condition: Callable[[], object], what: str, *, every_s: float = 0.01) -> None:
    """Wait for something that gives no sign of itself."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(every_s)


def one_line(errors: bytes, *words: bytes) -> None:
    """What a failed command says: one line that begins with its name. That patterns are compiled is no failure."""
    errors = b"".join(line for line in errors.splitlines(keepends=True) if b"compiling the patterns" not in line)
    assert errors.count(b"\n") == 1, errors.decode(errors="replace")
    assert errors.startswith(b"flowsonar: ")
    for word in words:
        assert word in errors


def labels(records: Sequence[dict[str, Any]], port: int) -> set[str]:
    """What the flows to a port, or the endpoint itself, were called at last."""
    last = {record.get("flow_id", port): record["app_proto"] for record in records if record.get("dest_port") == port}
    return set(last.values())
