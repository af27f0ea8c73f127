"""What flowsonar spent on each endpoint, read from the audit log in its store."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from flowsonar.demo.results import Asked
from flowsonar.errors import StoreError
from flowsonar.model import Transport
from flowsonar.verdicts.store import Store

__all__ = ["read_asked"]


def read_asked(path: Path, addresses: Iterable[str]) -> Asked | None:
    """Connections and datagrams spent on each endpoint of `addresses`; None when there is no store to read."""
    if not path.exists():
        return None
    try:
        store = Store(path)
    except StoreError:
        return None
    try:
        spent: dict[tuple[str, str, int], tuple[int, int]] = {}
        for address in dict.fromkeys(addresses):
            for stored in store.find(address):
                endpoint, actions = stored.endpoint, [entry.action for entry in stored.asked]
                datagrams = actions.count("send") if endpoint.transport is Transport.UDP else 0
                key = (str(endpoint.transport), endpoint.address, endpoint.port)
                spent[key] = (actions.count("connect"), datagrams)
        return spent
    finally:
        store.close()
