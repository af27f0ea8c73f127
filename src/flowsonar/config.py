"""All settings, as frozen values. `--config FILE.toml` fills them; the command line goes over the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from flowsonar import limits

__all__ = ["BudgetSettings", "CaptureSettings", "FlowSettings", "ScopeSettings", "Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeSettings:
    """Which endpoints may be probed."""

    allow: tuple[str, ...] = ()
    """Networks (CIDR) beyond the default scope."""
    only: tuple[str, ...] = ()
    """When set, replaces the default scope."""
    exclude: tuple[str, ...] = ()
    """Networks, addresses, `address:port` or `:port` that are never asked."""
    own_addresses: tuple[str, ...] = ()
    """Our public or NAT addresses as others see them, for replies that mirror our address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """How much may be asked."""

    rate: float = 400.0
    """Connections and datagrams a second, all together."""
    burst: int = 800
    per_host_rate: float = 100.0
    """Connections and datagrams a second to one address."""
    per_host_burst: int = 200
    per_prefix_rate: float = 200.0
    """The same for one /24 or /64."""
    per_prefix_burst: int = 400
    per_host_parallel: int = 8
    """Conversations with one address that begin at a time; at most four times as many stand, most of them waiting."""
    parallel: int = 512
    """Conversations at a time, all together."""
    max_probes: int = 5
    """Connections per endpoint that stand or were answered; twice as many UDP datagrams."""
    max_unanswered: int = 60
    """Connections per endpoint that brought no byte, beside those; to UDP endpoints that say nothing, datagrams."""
    control: bool = True
    """Find hosts where everything answers, by connections to high ports that nobody is known to listen on."""
    timeout_s: float = 3.0
    """An endpoint that says nothing is given up after this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings:
    """The flow table."""

    capacity: int = limits.FLOW_CAPACITY
    idle_timeout_s: float = limits.IDLE_TIMEOUT_S
    active_timeout_s: float = limits.ACTIVE_TIMEOUT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSettings:
    """Live capture."""

    filter: str | None = None
    """Kernel filter in tcpdump's language; None: what the flow table can use."""
    ring_mib: int = 64
    """Memory that packets of one interface may wait in."""
    cutoff_bytes: int | None = None
    """Settled flows that have passed so many bytes are left in the kernel; None: all packets are taken."""
    rings: int = 1
    """Rings of each interface, among which the kernel shares its flows out; they share the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set."""

    scope: ScopeSettings = field(default_factory=ScopeSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    flows: FlowSettings = field(default_factory=FlowSettings)
    capture: CaptureSettings = field(default_factory=CaptureSettings)
    store: Path | None = None
    """The verdict store; None: `$XDG_STATE_HOME/flowsonar/verdicts.db`."""
    signatures: tuple[Path, ...] = ()
    """Folders of signature files beside the ones that come with flowsonar; a file of the same service replaces."""
    recog: Path | None = None
    """A copy of rapid7/recog: its fingerprints name products and versions that the signatures leave open."""
    policy: Path | None = None
    """What labels mean for packets, for `shape`; None: what is built in."""
    passive: bool = False
    """Ask nothing."""
    dry_run: bool = False
    """Say what would be asked, send nothing."""
    ask_as_peer: bool = False
    """Ask UDP endpoints that say nothing to us once more in the name of the flow's other side, where this machine
    forwards the flow."""
