"""`flowsonar signatures`: the database of services."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from flowsonar.cli.arguments import Argument, Option
from flowsonar.cli.common import SignaturesOption, exits, warn
from flowsonar.errors import ConfigError

if TYPE_CHECKING:
    from flowsonar.signatures import Signature, SignatureSet
    from flowsonar.signatures.scaffold import Seen

__all__ = ["check", "list_services", "new", "show"]


def _load(folders: list[Path] | None) -> SignatureSet:
    from flowsonar.signatures import load_signatures

    return load_signatures(tuple(folders or ()))


@exits
def list_services(
    json: Annotated[bool, Option("--json", help="One JSON object a line.")] = False,
    markdown: Annotated[bool, Option("--markdown", help="All of it as a page: docs/services.md.")] = False,
    signatures: SignaturesOption = None,
) -> int:
    """List the services with class, ports and what is asked."""
    loaded = _load(signatures)
    if json and markdown:
        raise ConfigError("--json or --markdown, not both")
    if markdown:
        from flowsonar.signatures.page import render_page

        print(render_page(loaded), end="")
        return 0
    if json:
        import orjson

        for signature in loaded.services.values():
            print(orjson.dumps(_summary(signature)).decode())
        return 0
    from rich.console import Console
    from rich.table import Table

    from flowsonar.signatures.page import place_of

    table = Table(box=None, pad_edge=False)
    for column in ("service", "class", "ports", "asked", "patterns", "title"):
        table.add_column(column, no_wrap=column in ("service", "class"))
    for signature in loaded.services.values():
        table.add_row(
            signature.service,
            str(signature.traffic_class),
            " ".join(place_of(signature)[:4]),
            " ".join(probe.name for probe in signature.probes) or "passive only",
            str(len(signature.replies) + len(signature.payloads)),
            signature.title,
        )
    Console().print(table)
    return 0


def _summary(signature: Signature) -> dict[str, object]:
    return {
        "service": signature.service,
        "title": signature.title,
        "class": str(signature.traffic_class),
        "ports": [f"{port}/{transport}" for transport, ports in signature.ports for port in ports],
        "tls_ports": list(signature.tls_ports),
        "alpn": list(signature.alpn),
        "probes": [probe.id for probe in signature.probes],
        "references": list(signature.references),
    }


@exits
def show(service: Annotated[str, Argument(help="The service's name.")], signatures: SignaturesOption = None) -> int:
    """Print the file of one service."""
    loaded = _load(signatures)
    signature = loaded.services.get(service)
    if signature is None:
        import difflib

        near = difflib.get_close_matches(service, list(loaded.services), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see `flowsonar signatures list`"
        raise ConfigError(f"no service is called {service!r}: {hint}")
    print(Path(signature.path).read_text(encoding="utf-8"), end="")
    return 0


@exits
def check(signatures: SignaturesOption = None) -> int:
    """Prove that every example matches its own signature and no other, and that near misses match none."""
    from flowsonar.signatures import check as checked

    loaded = _load(signatures)
    problems = checked(loaded)
    for problem in problems:
        warn(str(problem))
    examples = sum(len(signature.examples) for signature in loaded.services.values())
    print(f"{len(loaded.services)} services, {examples} examples, {len(problems)} problems")
    return 1 if problems else 0


@exits
def new(
    service: Annotated[str, Argument(help="The service's name, lower case.")],
    folder: Annotated[Path, Option("--folder", help="Where to write SERVICE.toml.")] = Path(),
    source: Annotated[
        Path | None,
        Option("--from", metavar="FILE", help="Begin with the answers in records of `probe --json`."),
    ] = None,
) -> int:
    """Write a signature file to begin with; CONTRIBUTING.md has the five steps."""
    from flowsonar.signatures import render_scaffold

    text = render_scaffold(service, None if source is None else _seen(source))
    path = folder / f"{service}.toml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already: nothing was written") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    print(f"{path}: fill it in, then run `flowsonar signatures check --signatures {folder}`")
    return 0


def _seen(path: Path) -> Seen:
    """Take the first endpoint that answered and was not identified. Raises ConfigError."""
    import json

    from flowsonar.signatures.scaffold import Seen

    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    raise ConfigError(f"{path} holds no records of `flowsonar probe --json`") from None
                if (seen := Seen.of(record)) is not None:
                    return seen
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    raise ConfigError(f"{path} has no endpoint that answered and was not identified")
