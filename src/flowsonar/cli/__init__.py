"""The command line: one module per command, each a thin user of the same interface that Python programs use.

A command's module is imported when the command runs, not before: what is listed here is all that `--help` needs.
"""

from __future__ import annotations

import sys

from flowsonar.cli import common, process
from flowsonar.cli.arguments import Command, Group, invoke

__all__ = ["COMMANDS", "main"]

_SIGNATURES = Group(
    "The signature database: list, show, check, new.",
    {
        "list": Command(
            "flowsonar.cli.signatures:list_services",
            "List the services with class, ports and what is asked.",
            "flowsonar signatures list --json | jq -r .service",
        ),
        "show": Command(
            "flowsonar.cli.signatures:show", "Print the file of one service.", "flowsonar signatures show ftp"
        ),
        "check": Command(
            "flowsonar.cli.signatures:check",
            "Prove that every example matches its own signature and no other, and that near misses match none.",
            "flowsonar signatures check --signatures my-services/",
        ),
        "new": Command(
            "flowsonar.cli.signatures:new",
            "Write a signature file to begin with; CONTRIBUTING.md has the five steps.",
            "flowsonar signatures new gopher --folder my-services/",
        ),
    },
)

_POLICY = Group(
    "What labels mean for packets: show, check.",
    {
        "show": Command(
            "flowsonar.cli.policy:show",
            "Print the policy as it is in force, the built-in rules too, as a file that reads the same.",
            "flowsonar policy show > policy.toml",
        ),
        "check": Command(
            "flowsonar.cli.policy:check",
            "Check a policy, and explain what would happen to given flows and why.",
            "flowsonar policy check policy.toml --flow 'service=http name=video.example from=10.0.0.5'",
        ),
    },
)

COMMANDS = Group(
    "Real-time traffic type detection by asking the endpoints. Run it on networks you are responsible for.",
    {
        "watch": Command(
            "flowsonar.cli.watch:watch",
            "Watch interfaces and label flows live, asking their endpoints where the bytes do not tell.",
            "flowsonar watch -i eth0 -i eth1 --scope 198.51.100.0/24",
        ),
        "read": Command(
            "flowsonar.cli.read:read",
            "Label the flows of captures. Passive unless `--probe` is given.",
            "flowsonar read day.pcap.gz --json > flows.jsonl",
        ),
        "probe": Command(
            "flowsonar.cli.probe:probe",
            "Ask endpoints what they are.",
            "flowsonar probe 127.0.0.1:22 '[::1]:8080' 127.0.0.1:53/udp",
        ),
        "query": Command(
            "flowsonar.cli.query:query",
            "Ask records that were kept as Parquet, through DuckDB: one table, `flows`, a row a record.",
            "flowsonar query flows.parquet 'select name, count(*) from flows group by 1'",
        ),
        "shape": Command(
            "flowsonar.cli.shape:shape",
            "Watch, and treat each flow as its label deserves: marks, DSCP and queues, for both directions.",
            "flowsonar shape -i wan0 --lan lan0 --up 5mbit --down 20mbit",
        ),
        "policy": _POLICY,
        "explain": Command(
            "flowsonar.cli.explain:explain",
            "Say why: the stored verdicts about an address with their evidence, bytes shown as hex and text.",
            "flowsonar explain 192.168.1.10:51820/udp",
        ),
        "demo": Command(
            "flowsonar.cli.demo:demo",
            "Start real services in a private network namespace, talk to them, and label the flows live.",
            "flowsonar demo",
        ),
        "doctor": Command(
            "flowsonar.cli.doctor:doctor",
            "Say what works on this machine and what to do about the rest. Exit code 1 when the main job cannot work.",
            "flowsonar doctor",
        ),
        "signatures": _SIGNATURES,
    },
    epilog="Begin with: flowsonar demo",
)


def main() -> None:
    """Entry point of the `flowsonar` program. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    process.mend_streams()
    try:
        raise SystemExit(invoke(COMMANDS, sys.argv[1:], "flowsonar", version=_version))
    except OSError as error:  # commands tell their own; what is left is help that nobody can read
        process.finish_output()
        common.warn(process.said_by(error))
        raise SystemExit(1) from None


def _version() -> str:
    from flowsonar import __version__

    return __version__
