"""Programs the laboratory started: each known by its process, all ended on the way out."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.packages import SEARCH_PATH

__all__ = ["LabError", "Program", "Programs", "in_namespace"]

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True)
_TERM_S = 3.0


class LabError(Exception):
    """The laboratory itself does not work; nothing is said about flowsonar."""


def in_namespace(namespace: str, arguments: Sequence[str | Path]) -> list[str]:
    """The command that runs `arguments` in a network namespace; `ip` replaces itself by them, so the pid is theirs."""
    return ["ip", "netns", "exec", namespace, *map(str, arguments)]


def _own_session() -> None:
    os.setsid()
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # should the laboratory itself be killed


@dataclass(slots=True)
class Program:
    """One started process, its group, and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    started_s: float = field(default_factory=time.monotonic)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Signal the whole group; a group that is gone is no error."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def tail(self, characters: int = 600) -> str:
        """The end of what it printed."""
        try:
            return self.log.read_text(errors="replace")[-characters:].strip()
        except OSError:
            return ""


class Programs:
    """Starts programs in namespaces and ends them again; a context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[Program] = []
        self._count = 0

    def __enter__(self) -> Programs:
        """Nothing is started yet. Orphans of what will be (a server's children) come to us rather than to init."""
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self.stop(self._running)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def start(
        self,
        namespace: str,
        arguments: Sequence[str | Path],
        *,
        name: str = "",
        environment: Mapping[str, str] | None = None,
        output: Path | None = None,
    ) -> Program:
        """Start a program that stays in the foreground. Its output goes to a log, or its stdout to `output`."""
        self._count += 1
        name = name or Path(str(arguments[0])).name
        log = self._directory / f"{self._count:03d}-{name.replace('/', '_')}.log"
        with log.open("wb") as errors, (output or log).open("ab") as out:
            process = subprocess.Popen(
                in_namespace(namespace, arguments),
                stdin=subprocess.DEVNULL,
                stdout=out if output else errors,
                stderr=errors,
                cwd=self._directory,
                env={
                    **os.environ,
                    "PATH": SEARCH_PATH,
                    "LC_ALL": "C",
                    "HOME": str(self._directory),
                    **(environment or {}),
                },
                preexec_fn=_own_session,  # noqa: PLW1509 - one thread here
            )
        program = Program(name=name, process=process, log=log)
        self._running.append(program)
        return program

    def stop(self, programs: Iterable[Program]) -> None:
        """End programs: SIGTERM to their groups, SIGKILL to what is left after a few seconds."""
        ending = list(programs)
        for program in ending:
            program.signal(signal.SIGTERM)
        deadline_s = time.monotonic() + _TERM_S
        for program in ending:
            try:
                program.process.wait(max(0.05, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                program.signal(signal.SIGKILL)
                program.process.wait()
            program.signal(signal.SIGKILL)  # children that outlived their parent
        self._running = [program for program in self._running if program not in ending]
