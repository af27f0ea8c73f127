"""The C core is used where it is of the same build as the Python side, and only there."""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from flowsonar import _native
from flowsonar._native.digest import sha256
from tests.needs import needs_native

INTERFACES = {
    1: "a838ccac3594c667",
    2: "55950fe0f1b94053",
    3: "340a455617be7906",
    4: "b5dac1813f108153",
    5: "ad76d55398d618cf",
}
"""By build: a digest of all names that the core gives. Where it changes, `BUILD` and `CORE_BUILD` go up."""


@pytest.fixture
def selector(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The package, to be read anew; afterwards it is as before."""
    before = dict(vars(_native))
    monkeypatch.delenv("FLOWSONAR_NATIVE", raising=False)
    yield _native
    vars(_native).clear()
    vars(_native).update(before)


@needs_native()
def test_the_build_goes_up_with_the_interface() -> None:
    assert _native.core is not None
    names = [f"{name}.{part}" for name, one in vars(_native.core).items() for part in ("", *vars_of(one))]
    found = sha256("\n".join(sorted(names)).encode()).hex()[:16]
    assert _native.core.BUILD == _native.BUILD
    assert INTERFACES[_native.BUILD] == found, "add one to BUILD and CORE_BUILD, and a line above"


def vars_of(one: object) -> list[str]:
    return [name for name in vars(one) if not name.startswith("__")] if isinstance(one, type) else []


@pytest.mark.parametrize("build", [None, 0, _native.BUILD + 1])
def test_a_core_of_another_build_is_left_alone(
    selector: ModuleType, monkeypatch: pytest.MonkeyPatch, build: int | None
) -> None:
    other = ModuleType("flowsonar._native._core")
    if build is not None:
        vars(other)["BUILD"] = build
    monkeypatch.setitem(sys.modules, "flowsonar._native._core", other)
    importlib.reload(selector)
    assert selector.core is None
    assert selector.stale
    assert not selector.NATIVE
    assert "pip install -e ." in selector.reason


def test_left_out_is_not_stale(selector: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSONAR_NATIVE", "skip")
    importlib.reload(selector)
    assert selector.core is None
    assert not selector.stale
