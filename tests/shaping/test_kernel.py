import os
import shutil
import subprocess

import pytest

from flowsonar.shaping import kernel
from flowsonar.shaping.kernel import Kernel, examine


def test_without_programs_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name in {"tc", "nft"} else f"/bin/{name}")
    found = examine()
    assert found.problem is not None
    assert "iproute2 nftables" in found.problem
    assert not found.qdiscs


def test_without_a_namespace_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(arguments: list[str], text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(arguments, 1, "", "unshare: unshare failed: Operation not permitted\n")

    monkeypatch.setattr(kernel, "_outside", refused)
    monkeypatch.setattr(kernel, "_absent", list)
    found = examine()
    assert found.problem is not None
    assert "Operation not permitted" in found.problem
    assert not found.redirects


def test_what_leads_through_an_ifb() -> None:
    there = Kernel(filters=frozenset({"u32"}), actions=frozenset({"mirred"}), ifb=True, clsact=True)
    assert there.redirects
    assert not there.restores
    assert there.match_all == "u32 match u32 0 0"
    assert not Kernel(filters=frozenset({"u32"}), actions=frozenset({"mirred"}), clsact=True).redirects


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a network namespace")
def test_this_kernel_is_looked_at_and_nothing_stays() -> None:
    before = subprocess.run(["tc", "qdisc", "show"], capture_output=True, text=True, check=True).stdout
    found = examine()
    assert found.problem is None
    assert {"htb", "pfifo"} <= found.qdiscs
    assert {"tables", "conntrack", "priority"} <= found.firewall
    assert subprocess.run(["tc", "qdisc", "show"], capture_output=True, text=True, check=True).stdout == before
