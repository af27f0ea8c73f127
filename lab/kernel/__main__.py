"""`python -m lab.kernel`: queues and marks tried on Debian's own kernel, in an emulator, within some minutes."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab.frame import NO_RESULT, perform, say
from lab.kernel.boot import PACKAGES, boot
from lab.packages import install

_ROOT = Path(__file__).resolve().parents[2]


def _work(folder: Path, seconds: float) -> int:
    begin_s = time.monotonic()
    install(PACKAGES)
    path = os.pathsep.join([str(_ROOT), str(_ROOT / "src")])
    command = ["/usr/bin/env", f"PYTHONPATH={path}", sys.executable, "-B", "-m", "lab.kernel.inside"]
    done = boot(command, folder, seconds=seconds, shown=[str(_ROOT)])  # a clone may stand below /tmp
    print("\n".join(done.lines))
    if not done.finished:
        say(f"did not end within {seconds:.0f} s; the console's end:\n{done.console[-1500:]}")
        return NO_RESULT
    print(f"{time.monotonic() - begin_s:.0f} s")
    return 0 if done.lines and done.lines[-1] == "passed" else 1


def main(words: Sequence[str] | None = None) -> int:
    """Boot, try, and say what held."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.kernel",
        description=__doc__,
        epilog="exit code: 0 passed, 1 something does not hold, 2 wrong usage, 3 the laboratory does not work",
    )
    parser.add_argument("--seconds", type=float, default=600, help="the most that it may take (default 600)")
    chosen = parser.parse_args(words)
    return perform(lambda folder: _work(folder, chosen.seconds), name="kernel", alone=True)


if __name__ == "__main__":
    sys.exit(main())
