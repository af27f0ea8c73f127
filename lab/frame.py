"""What every laboratory does around its work: root, one at a time, a folder of its own, and every way to end."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from lab.packages import MissingError
from lab.programs import LabError

__all__ = ["LOCKS", "NO_RESULT", "USAGE", "perform", "say", "seeded"]

USAGE = 2
NO_RESULT = 3
"""Exit codes besides 0 (passed) and 1 (something is not as it should be)."""
LOCKS = Path("/run/lock")
_ROOT = Path(__file__).resolve().parents[1]


def say(text: str) -> None:
    """Progress and errors go to standard error: the table alone is on standard output."""
    print(text, file=sys.stderr, flush=True)


def seeded(chosen: int | None) -> int:
    """The seed for the random ports: the one that was asked for, or a fresh one."""
    return random.SystemRandom().randrange(1_000_000) if chosen is None else chosen


def _interrupted(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _taken(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def perform(work: Callable[[Path], int], *, name: str, keep: bool = False, alone: bool = False) -> int:
    """Do `work` in a fresh folder and return its exit code, or `NO_RESULT` where it could not be done.

    With `alone`, for laboratories whose namespaces have fixed names, one of a `name` runs at a time on a machine.
    The folder can be read by all, for servers drop to users of their own; it is removed at the end unless `keep`.
    Programs that are started find the packages of this tree.
    """
    if os.geteuid() != 0:
        say("the laboratory makes network namespaces: run it as root")
        return NO_RESULT
    signal.signal(signal.SIGTERM, _interrupted)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])
    with (LOCKS / f"flowsonar-{name}").open("w") as lock:
        if alone and not _taken(lock):
            say("this laboratory is running already on this machine")
            return NO_RESULT
        folder = Path(tempfile.mkdtemp(prefix=f"flowsonar-{name}-"))
        folder.chmod(0o755)
        try:
            return work(folder)
        except (LabError, MissingError) as error:
            say(f"the laboratory does not work: {error}")
            return NO_RESULT
        except KeyboardInterrupt:
            say("interrupted; everything that was started has been ended")
            return 130
        finally:
            if keep:
                say(f"kept: {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)
