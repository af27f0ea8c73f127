"""The programs flowsonar is measured beside; installed here, never part of the product."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["debian", "nfstream"]


def debian(program: str, package: str) -> str:
    """The path of a Debian program; installs its package when we are root. Raises SystemExit with what to do."""
    found = shutil.which(program)
    if found is None:
        print(f"installing {package} ...", file=sys.stderr)
        subprocess.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", package], check=False)
        found = shutil.which(program)
    if found is None:
        raise SystemExit(f"bench: {program} is missing: apt-get install {package}")
    return found


NFSTREAM_PROGRAM = """
import sys
from nfstream import NFStreamer
for flow in NFStreamer(source=sys.argv[1], n_meters=1):
    (flow.application_name, flow.bidirectional_packets)
"""


def nfstream(folder: Path) -> str:
    """A Python that has NFStream, in an environment of its own: its pins are not ours."""
    python = folder / "nfstream" / "bin" / "python"
    if not python.exists():
        print("installing nfstream ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder / "nfstream")], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "nfstream==6.6.0"], check=True)
    return str(python)
