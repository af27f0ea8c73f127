"""The store as the tracker sees it: what it learns and forgets goes on."""

from pathlib import Path
from typing import Any, cast

from flowsonar.app.listening import ListeningCache
from flowsonar.model import Confidence, Endpoint, Transport, Verdict
from flowsonar.verdicts.store import Store

ENDPOINT = Endpoint(Transport.TCP, "10.0.0.2", 6881)


class Listener:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def learned(self, endpoint: Endpoint, now_s: float) -> None:
        self.heard.append(f"learned {endpoint.port} at {now_s:g}")

    def forgot(self, endpoint: Endpoint) -> None:
        self.heard.append(f"forgot {endpoint.port}")


def test_what_the_store_learns_and_forgets_is_told_on(tmp_path: Path) -> None:
    store, listener = Store(tmp_path / "v.db"), Listener()
    cache = ListeningCache(store, cast("Any", listener))
    cache.learned(ENDPOINT, Verdict(service="bittorrent", confidence=Confidence.CONFIRMED), 1000.0)
    found = cache.verdict(ENDPOINT, 1000.0)
    assert found is not None
    assert found.service == "bittorrent"
    cache.failed(ENDPOINT, None, 1001.0)
    cache.forget(ENDPOINT)
    assert listener.heard == ["learned 6881 at 1000", "forgot 6881"]
    assert cache.verdict(ENDPOINT, 1002.0) is None
    store.close()
