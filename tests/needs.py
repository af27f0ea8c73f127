"""What a test needs of the machine: skipped with the reason where it is missing, an error in strict mode (CI)."""

import os
import shutil
from pathlib import Path

import pytest

from flowsonar import _native

STRICT = bool(os.environ.get("FLOWSONAR_STRICT"))
CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"


def _need(present: bool, reason: str) -> pytest.MarkDecorator:
    if STRICT:
        present = True  # the test then runs, and fails by itself where the thing is missing
    return pytest.mark.skipif(not present, reason=reason)


def needs_root() -> pytest.MarkDecorator:
    """Needs root: raw sockets, network namespaces."""
    return _need(os.geteuid() == 0, "needs root")


def needs_program(name: str) -> pytest.MarkDecorator:
    """Needs a program of the machine."""
    return _need(shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None, f"needs {name}")


def needs_native() -> pytest.MarkDecorator:
    """Needs the C extension."""
    return _need(_native.NATIVE, "needs the native build")


def needs_corpus() -> pytest.MarkDecorator:
    """Needs the captures beside the repository (`../shared/corpus`); they are not part of it."""
    return pytest.mark.skipif(not CORPUS.is_dir(), reason="needs ../shared/corpus")
