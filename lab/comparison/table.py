"""The comparison as a table, its summary, and whether it passes.

Shares are of the endpoints that are a service; impostors and liars have a line of their own.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from lab.comparison.batch import Compared, Times
from lab.comparison.said import Said, judged, product_right, version_right
from lab.services.base import Service
from lab.truth import Judgement

__all__ = ["MUST_BE_RIGHT", "as_json", "passes", "problems", "summary", "table"]

MUST_BE_RIGHT = 0.98

_WIDTHS = (22, 20, 30, 34, 6, 5, 5, 38, 6, 18, 26)
_HEADINGS = (
    "endpoint", "truth", "flowsonar probe", "product and version", "ms", "conn", "bytes", "nmap -sV", "s", "nDPI",
    "flowsonar read",
)  # fmt: skip


def _row(cells: Sequence[str]) -> str:
    return "  ".join(cell[:width].ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def _mark(one: Service, said: Said | None, parents: Mapping[str, str]) -> str:
    """What is wrong stands out: `!` wrong, `~` true but not all of it."""
    if said is None:
        return "-"
    mark = {Judgement.WRONG: "! ", Judgement.OUTSIDE: "~ "}.get(judged(one, said, parents), "")
    return f"{mark}{said}"


def table(rows: Sequence[Compared], parents: Mapping[str, str]) -> list[str]:
    """One line an endpoint."""
    lines = [_row(_HEADINGS)]
    for row in rows:
        said, one = row.probe, row.service
        what = " ".join(word for word in (said.product, said.version) if word)
        true = " ".join(word for word in (one.product, one.version) if word)
        if what != true:
            what = f"{what or '-'} ({true or '-'})"
        label = _mark(one, said, parents)
        lines.append(
            _row(
                (
                    one.name + (" (6)" if row.family == 6 else ""),
                    str(one.truth),
                    f"{label} {said.confidence}" if said.service else label,
                    what if what != "" else "-",
                    "-" if said.ms is None else f"{said.ms:.0f}",
                    str(said.tries),
                    str(said.bytes_sent),
                    _mark(one, row.nmap, parents),
                    "-" if row.nmap is None or row.nmap.ms is None else f"{row.nmap.ms / 1000:.1f}",
                    _mark(one, row.ndpi, parents),
                    _mark(one, row.read, parents),
                )
            )
        )
    return lines


def _counts(rows: Sequence[Compared], of: Callable[[Compared], Said | None], parents: Mapping[str, str]) -> str:
    seen = [(row.service, said) for row in rows if row.service.truth.service and (said := of(row)) is not None]
    if not seen:
        return "not asked"
    found = [judged(one, said, parents) for one, said in seen]
    counts = {kind: sum(item is kind for item in found) for kind in Judgement}
    products = [(one, said) for one, said in seen if one.product]
    versions = [(one, said) for one, said in seen if one.version]
    return (
        f"{counts[Judgement.RIGHT]} of {len(seen)} right ({counts[Judgement.RIGHT] / len(seen):.1%}),"
        f" {counts[Judgement.OUTSIDE]} true but not all of it, {counts[Judgement.WRONG]} wrong"
        f" ({sum(_sure_and_wrong(*item, parents) for item in seen)} confirmed),"
        f" {counts[Judgement.UNKNOWN]} unknown;"
        f" products {sum(product_right(*item) for item in products)} of {len(products)},"
        f" versions {sum(version_right(*item) for item in versions)} of {len(versions)}"
    )


def _sure_and_wrong(one: Service, said: Said, parents: Mapping[str, str]) -> bool:
    return said.confidence == "confirmed" and judged(one, said, parents) is Judgement.WRONG


def _liars(rows: Sequence[Compared], tools: Mapping[str, Callable[[Compared], Said | None]]) -> list[str]:
    """What each tool makes of servers that are no service: unknown is right, anything sure is not."""
    lying = [row for row in rows if row.service.truth.service is None]
    lines = []
    for name, of in tools.items():
        seen = [said for row in lying if (said := of(row)) is not None]
        if seen:
            kinds = Counter((said.confidence or "named") if said.service else "unknown" for said in seen)
            told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            lines.append(f"{name:16} of {len(seen)} that are no service: {told}")
    return lines


def _tls_in_the_middle(rows: Sequence[Compared]) -> list[str]:
    """Endpoints that may be plain or TLS: of how many the certificate was seen."""
    may = [row for row in rows if {None, "tls"} <= row.service.truth.over]
    if not may:
        return []
    seen = sorted({row.service.name for row in may if row.probe.certificate.startswith("STARTTLS")})
    return [f"STARTTLS: certificate seen of {len(seen)} of {len({row.service.name for row in may})}: {' '.join(seen)}"]


def summary(rows: Sequence[Compared], times: Times, failed: Mapping[str, str], parents: Mapping[str, str]) -> list[str]:
    """The lines after the table. nmap is compared on the endpoints that it was asked."""
    tools: dict[str, Callable[[Compared], Said | None]] = {
        "flowsonar probe": lambda row: row.probe,
        "nmap -sV": lambda row: row.nmap,
        "nDPI": lambda row: row.ndpi,
        "flowsonar read": lambda row: row.read,
    }
    lines = [f"{name:16} {_counts(rows, of, parents)}" for name, of in tools.items()]
    both = [row for row in rows if row.nmap is not None]
    if both and len(both) != len(rows):
        lines.append(f"{'on nmap-asked':16} {_counts(both, tools['flowsonar probe'], parents)}")
    lines += _liars(rows, {name: tools[name] for name in ("flowsonar probe", "nmap -sV")})
    lines += _tls_in_the_middle(rows)
    named = [row for row in rows if row.probe.service and row.service.truth.service]
    times_ms = sorted(row.probe.ms for row in named if row.probe.ms is not None)
    if times_ms:
        last = times_ms[min(len(times_ms) - 1, len(times_ms) * 99 // 100)]
        lines.append(f"time of the identified: median {statistics.median(times_ms):.1f} ms, 99 % within {last:.0f} ms")
    tries = [row.probe.tries for row in named]
    if tries:
        few = [sum(one <= most for one in tries) / len(tries) for most in (2, 5)]
        lines.append(f"connections or datagrams: at most 2 for {few[0]:.1%}, at most 5 for {few[1]:.1%}")
        sent = sorted(row.probe.bytes_sent for row in rows)
        lines.append(f"bytes sent: median {statistics.median(sent):.0f}, most {sent[-1]}")
    if both and times.probe_s:
        ours_s = sum(row.probe.ms or 0 for row in both) / 1000
        theirs_s = sum(row.nmap.ms or 0 for row in both if row.nmap) / 1000
        ratio = f"{theirs_s / ours_s:.0f}" if ours_s else "-"
        lines.append(
            f"endpoint times added up, where both asked: flowsonar {ours_s:.2f} s, nmap {theirs_s:.1f} s, {ratio} to 1;"
            f" whole runs: flowsonar {times.probe_s:.1f} s (with its starts, UDP and IPv6), nmap {times.nmap_s:.1f} s,"
            f" {times.nmap_s / times.probe_s:.1f} to 1"
        )
    silent_ms = [row.probe.ms for row in rows if row.probe.ms is not None and not row.probe.service]
    if silent_ms:
        lines.append(f"time of the unknown: at most {max(silent_ms):.0f} ms")
    lines.append(f"programs: {len({row.entry for row in rows})} entries, {len(rows)} endpoints")
    lines += [f"did not come up: {name}: {' '.join(why.split())[:300]}" for name, why in sorted(failed.items())]
    return lines


def problems(rows: Sequence[Compared], parents: Mapping[str, str]) -> list[str]:
    """Endpoints that flowsonar does not name rightly, the worst first."""
    found = []
    for row in rows:
        judgement = judged(row.service, row.probe, parents)
        if judgement is not Judgement.RIGHT:
            said = f"{row.service.truth} is called {row.probe} {row.probe.confidence}".rstrip()
            worst = judgement is not Judgement.WRONG, row.probe.confidence != "confirmed"
            found.append((worst, f"{row.service.name} ({row.family}): {judgement}: {said}"))
    return [text for _, text in sorted(found)]


def passes(rows: Sequence[Compared], parents: Mapping[str, str]) -> bool:
    """No wrong `confirmed`, and nearly all right."""
    wrong = any(_sure_and_wrong(row.service, row.probe, parents) for row in rows)
    named = [row for row in rows if row.service.truth.service]
    right = sum(judged(row.service, row.probe, parents) is Judgement.RIGHT for row in named)
    return bool(rows) and not wrong and right >= MUST_BE_RIGHT * len(named)


def as_json(rows: Sequence[Compared], times: Times, failed: Mapping[str, str]) -> dict[str, object]:
    """Everything as values for a file."""
    plain = [
        {
            "entry": row.entry,
            "endpoint": row.service.name,
            "transport": row.service.transport,
            "family": row.family,
            "truth": {
                "service": row.service.truth.service,
                "over": sorted(str(one) for one in row.service.truth.over),
                "product": row.service.product,
                "version": row.service.version,
            },
            **{tool: None if said is None else asdict(said) for tool, said in _tools(row)},
        }
        for row in rows
    ]
    return {"endpoints": plain, "times": asdict(times), "failed": dict(failed)}


def _tools(row: Compared) -> tuple[tuple[str, Said | None], ...]:
    return ("probe", row.probe), ("nmap", row.nmap), ("ndpi", row.ndpi), ("read", row.read)
