"""How much may be asked: token buckets for all, per host and per prefix, and back-off. Tests own the clock: `now_s`."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from functools import lru_cache
from typing import Final

from flowsonar.config import BudgetSettings

__all__ = ["HOSTS_REMEMBERED", "Budget", "TokenBucket", "prefix_of"]

HOSTS_REMEMBERED: Final = 65536
"""Buckets and back-offs kept per kind; the one longest untouched is forgotten, and would be full again anyway."""

_REFUSALS_FREE: Final = 64
"""Refusals in a row that cost nothing: closed ports are normal in a list of targets."""

_BACKOFF_FIRST_S: Final = 0.02
_BACKOFF_MOST_S: Final = 0.25
"""A host that only refuses is asked this seldom: closed ports are found out, but not in a hurry."""
_PROHIBITED_FIRST_S: Final = 10.0
"""An ICMP prohibition is a clear word: leave the host alone for this long, then twice as long."""
_PROHIBITED_MOST_S: Final = 600.0


class TokenBucket:
    """Tokens grow at `rate` a second up to `burst`. May go into debt: who books ahead waits for the returned time."""

    __slots__ = ("_at_s", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now_s: float) -> None:
        assert rate > 0, "a rate of nothing is expressed by passive mode"
        assert burst >= 1, "a bucket that holds no token never gives one"
        self.rate = rate
        self.burst = burst
        self._tokens = float(burst)
        self._at_s = now_s

    def delay_s(self, now_s: float) -> float:
        """How long until one token is there."""
        self._fill(now_s)
        return 0.0 if self._tokens >= 1.0 else (1.0 - self._tokens) / self.rate

    def take(self, now_s: float) -> None:
        """Take one token, now or on credit."""
        self._fill(now_s)
        self._tokens -= 1.0

    def book(self, now_s: float) -> float:
        """Take one token, and say how long until it is there."""
        if now_s > self._at_s:
            self._fill(now_s)
        left = self._tokens
        self._tokens = left - 1.0
        return 0.0 if left >= 1.0 else (1.0 - left) / self.rate

    def _fill(self, now_s: float) -> None:
        if now_s > self._at_s:
            self._tokens = min(self.burst, self._tokens + (now_s - self._at_s) * self.rate)
            self._at_s = now_s


class _BackOff:
    """What a host said about being asked."""

    __slots__ = ("prohibitions", "refusals", "until_s")

    def __init__(self) -> None:
        self.refusals = 0  # in a row
        self.prohibitions = 0  # in a row
        self.until_s = 0.0  # no question before


class Budget:
    """One token for every connection and every datagram, from three buckets at once."""

    def __init__(self, settings: BudgetSettings, now_s: float) -> None:
        self._settings = settings
        self._all = TokenBucket(settings.rate, settings.burst, now_s)
        self._hosts: OrderedDict[str, TokenBucket] = OrderedDict()
        self._prefixes: OrderedDict[str, TokenBucket] = OrderedDict()
        self._backoffs: OrderedDict[str, _BackOff] = OrderedDict()
        self.waited = 0  # tokens that were not there at once

    def delay_s(self, address: str, now_s: float) -> float:
        """Seconds until a packet to `address` may leave."""
        backoff = self._backoffs.get(address)
        return max(
            self._all.delay_s(now_s),
            self._host(address, now_s).delay_s(now_s),
            self._prefix(address, now_s).delay_s(now_s),
            0.0 if backoff is None else backoff.until_s - now_s,
        )

    def global_delay_s(self, now_s: float) -> float:
        """Seconds until any packet may leave: what the bucket of all says."""
        return self._all.delay_s(now_s)

    def take(self, address: str, now_s: float) -> float:
        """Book one packet to `address`; it may leave after the returned seconds."""
        backoff = self._backoffs.get(address)
        delay_s = 0.0 if backoff is None else max(0.0, backoff.until_s - now_s)
        for bucket in (self._all, self._host(address, now_s), self._prefix(address, now_s)):
            needs_s = bucket.book(now_s)
            delay_s = max(delay_s, needs_s)
        self.waited += delay_s > 0.0
        return delay_s

    def refused(self, address: str, now_s: float) -> None:
        """The host refused: many refusals in a row look like a scan, so they slow down."""
        backoff = self._backoff(address)
        backoff.refusals += 1
        over = backoff.refusals - _REFUSALS_FREE
        if over > 0:
            pause_s = min(_BACKOFF_MOST_S, _BACKOFF_FIRST_S * 2.0 ** min(over - 1, 16))
            backoff.until_s = max(backoff.until_s, now_s + pause_s)

    def prohibited(self, address: str, now_s: float) -> None:
        """ICMP said that asking is not wanted."""
        backoff = self._backoff(address)
        pause_s = min(_PROHIBITED_MOST_S, _PROHIBITED_FIRST_S * 2.0 ** min(backoff.prohibitions, 16))
        backoff.prohibitions += 1
        backoff.until_s = max(backoff.until_s, now_s + pause_s)

    def answered(self, address: str) -> None:
        """The host talks to us: no back-off any more."""
        self._backoffs.pop(address, None)

    def _host(self, address: str, now_s: float) -> TokenBucket:
        settings = self._settings
        return _bucket(self._hosts, address, settings.per_host_rate, settings.per_host_burst, now_s)

    def _prefix(self, address: str, now_s: float) -> TokenBucket:
        settings = self._settings
        return _bucket(self._prefixes, prefix_of(address), settings.per_prefix_rate, settings.per_prefix_burst, now_s)

    def _backoff(self, address: str) -> _BackOff:
        backoff = self._backoffs.get(address)
        if backoff is None:
            backoff = self._backoffs[address] = _BackOff()
            if len(self._backoffs) > HOSTS_REMEMBERED:
                self._backoffs.popitem(last=False)
        self._backoffs.move_to_end(address)
        return backoff


def _bucket(buckets: OrderedDict[str, TokenBucket], key: str, rate: float, burst: float, now_s: float) -> TokenBucket:
    bucket = buckets.get(key)
    if bucket is None:
        bucket = buckets[key] = TokenBucket(rate, burst, now_s)
        if len(buckets) > HOSTS_REMEMBERED:
            buckets.popitem(last=False)
    else:
        buckets.move_to_end(key)
    return bucket


@lru_cache(maxsize=4096)
def prefix_of(address: str) -> str:
    """The /24 of an IPv4 address, the /64 of an IPv6 one, as text; an IPv4-mapped address counts as IPv4."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        if mapped is None:
            return f"{int(parsed) >> 64:x}/64"
        parsed = mapped
    return f"{int(parsed) >> 8:x}/24"
