"""`python -m lab.kernel`: queues and marks tried on Debian's own kernel, in an emulator, within some minutes."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lab.kernel.boot import PACKAGES, boot
from lab.packages import MissingError, install
from lab.programs import LabError

_LOCK = Path("/run/lock/flowsonar-lab-kernel")
_ROOT = Path(__file__).resolve().parents[2]


def main(words: Sequence[str] | None = None) -> int:
    """Boot, try, and say what held."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.kernel",
        description=__doc__,
        epilog="exit code: 0 passed, 1 something does not hold, 2 wrong usage, 3 the laboratory does not work",
    )
    parser.add_argument("--seconds", type=float, default=600, help="the most that it may take (default 600)")
    chosen = parser.parse_args(words)
    if os.geteuid() != 0:
        print("the laboratory reads all of this machine's files in the emulator: run it as root", file=sys.stderr)
        return 3
    folder = Path(tempfile.mkdtemp(prefix="flowsonar-kernel-"))
    begin_s = time.monotonic()
    with _LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            install(PACKAGES)
            path = os.pathsep.join([str(_ROOT), str(_ROOT / "src")])
            command = ["/usr/bin/env", f"PYTHONPATH={path}", sys.executable, "-B", "-m", "lab.kernel.inside"]
            done = boot(command, folder, seconds=chosen.seconds)
        except BlockingIOError:
            print("this laboratory is running already on this machine", file=sys.stderr)
            return 3
        except (LabError, MissingError) as error:
            print(f"the laboratory does not work: {error}", file=sys.stderr)
            return 3
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(done.lines))
    if not done.finished:
        print(f"did not end within {chosen.seconds:.0f} s; the console's end:\n{done.console[-1500:]}", file=sys.stderr)
        return 3
    print(f"{time.monotonic() - begin_s:.0f} s")
    return 0 if done.lines and done.lines[-1] == "passed" else 1


if __name__ == "__main__":
    sys.exit(main())
