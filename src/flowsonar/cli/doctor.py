"""`flowsonar doctor`: what works on this machine and what to do about the rest."""

from __future__ import annotations

from typing import Annotated

from flowsonar.cli.arguments import Option
from flowsonar.cli.common import exits

__all__ = ["doctor"]


@exits
def doctor(json: Annotated[bool, Option("--json", help="One JSON object a line.")] = False) -> int:
    """Say what works on this machine and what to do about the rest. Exit code 1 when the main job cannot work."""
    from rich.console import Console

    from flowsonar.app.health import examine

    findings = examine()
    if json:
        import orjson

        for finding in findings:
            print(orjson.dumps(finding).decode())
    else:
        console = Console(highlight=False)
        for finding in findings:
            mark = {"ok": "[green]ok[/]", "slower": "[yellow]slower[/]", "missing": "[red]missing[/]"}[finding.state]
            console.print(f"{mark:>18}  {finding.what}: {finding.detail}", soft_wrap=True)
    return 1 if any(finding.state == "missing" and finding.needed for finding in findings) else 0
