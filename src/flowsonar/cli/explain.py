"""`flowsonar explain`: why."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated

from flowsonar.cli.arguments import Argument
from flowsonar.cli.common import ConfigOption, StoreOption, VerboseOption, exits, settings_from, warn
from flowsonar.errors import ConfigError

if TYPE_CHECKING:
    from flowsonar.model import Transport

__all__ = ["explain"]


@exits
def explain(
    address: Annotated[str, Argument(metavar="ADDRESS[:PORT[/udp]]", help="IPv6 with a port: [address]:port.")],
    store: StoreOption = None,
    config: ConfigOption = None,
    verbose: VerboseOption = 0,
) -> int:
    """Say why: the stored verdicts about an address with their evidence, bytes shown as hex and text.

    Where `flowsonar shape` has marked its flows, also which rule did.
    """
    from rich.console import Console

    from flowsonar.shaping.journal import beside, marked, marks_of
    from flowsonar.verdicts.explain import explain as explained
    from flowsonar.verdicts.store import Store, default_path

    host, port, transport = _parse(address)
    settings = settings_from(config, store=store, verbose=verbose)
    path = settings.store or default_path()
    if not path.exists():
        what_to_do = "`flowsonar watch` and `flowsonar probe` make it, or name another with --store"
        warn(f"nothing is stored yet: {path} is not there; {what_to_do}")
        return 1
    opened = Store(path)
    try:
        found = opened.find(host, port, transport)
        marks = marks_of(beside(path), host, port, None if transport is None else transport.value)
        if not found and not marks:
            warn(f"nothing is stored about {address}: watch its flows, or ask it with `flowsonar probe {address}`")
            return 1
        console = Console()
        for stored in found:
            console.print(explained(stored), soft_wrap=True)
        for mark in marks:
            console.print(marked(mark), soft_wrap=True, highlight=False, markup=False)
    finally:
        opened.close()
    return 0


def _parse(text: str) -> tuple[str, int | None, Transport | None]:
    from flowsonar.model import Transport

    expression, slash, suffix = text.partition("/")
    transport = Transport(suffix.lower()) if slash and suffix.lower() in ("tcp", "udp") else None
    port: int | None = None
    try:
        address = ipaddress.ip_address(expression)
    except ValueError:
        host, _, number = expression.rpartition(":")
        try:
            address = ipaddress.ip_address(host.strip("[]"))
            port = int(number)
        except ValueError:
            raise ConfigError(f"{text!r}: write it as ADDRESS, ADDRESS:PORT, ADDRESS:PORT/udp or [IPv6]:PORT") from None
    if slash and transport is None:
        raise ConfigError(f"{text!r}: the transport is tcp or udp")
    return str(address), port, transport
