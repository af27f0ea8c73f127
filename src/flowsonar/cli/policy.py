"""`flowsonar policy`: what labels mean for packets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from flowsonar.cli.arguments import Argument, Option
from flowsonar.cli.common import ConfigOption, SignaturesOption, exits, settings_from
from flowsonar.errors import ConfigError
from flowsonar.verdicts.visible import visible

if TYPE_CHECKING:
    from flowsonar.config import Settings
    from flowsonar.shaping.policy import Facts, Policy

__all__ = ["check", "policy_from", "show"]

_WORDS = ("service", "product", "name", "class", "confidence", "from", "to")
_LINE_BYTES = 1 << 20

FileArgument = Annotated[Path | None, Argument(metavar="FILE", help="The policy (default: the settings' one).")]


def policy_from(path: Path | None, settings: Settings) -> Policy:
    """Read the policy of the option, else of the settings, else the built-in one. Raises ConfigError."""
    from flowsonar.shaping.policy import Policy
    from flowsonar.shaping.policyfile import load_policy
    from flowsonar.signatures import load_signatures

    chosen = path or settings.policy
    if chosen is None:
        return Policy()
    return load_policy(chosen, load_signatures(settings.signatures).services)


@exits
def show(file: FileArgument = None, signatures: SignaturesOption = None, config: ConfigOption = None) -> int:
    """Print the policy as it is in force, the built-in rules too, as a file that reads the same."""
    from flowsonar.shaping.policyfile import write_policy

    policy = policy_from(file, settings_from(config, signatures=signatures))
    print(write_policy(policy), end="")
    return 0


@exits
def check(
    file: FileArgument = None,
    flow: Annotated[
        list[str] | None,
        Option(
            "--flow",
            metavar="FLOW",
            help="A flow as `service=sip from=10.0.0.5 to=192.0.2.9:5060 ...`, as a record, or - for records as "
            "JSON lines on standard input (may be repeated).",
        ),
    ] = None,
    signatures: SignaturesOption = None,
    config: ConfigOption = None,
) -> int:
    """Check a policy, and explain what would happen to given flows and why."""
    settings = settings_from(config, signatures=signatures)
    policy = policy_from(file, settings)
    if not flow:
        print(f"{policy.source or 'the built-in policy'}: {len(policy.rules)} rules, no conflict")
        return 0
    from flowsonar.signatures import load_signatures

    known = {name: one.traffic_class for name, one in load_signatures(settings.signatures).services.items()}
    for text, facts in _flows(flow, known):
        _explain(policy, text, facts)
    return 0


def _flows(flows: list[str], known: dict[str, Any]) -> Iterator[tuple[str, Facts]]:
    for text in flows:
        if text == "-":
            for line in iter(lambda: sys.stdin.buffer.readline(_LINE_BYTES), b""):
                if line.strip():
                    yield _from_record(line.decode("utf-8", "replace"), known)
        elif text.lstrip().startswith("{"):
            yield _from_record(text, known)
        else:
            yield text, _from_words(text, known)


def _explain(policy: Policy, text: str, facts: Facts) -> None:
    from flowsonar.shaping.classes import dscp_name

    print(visible(text, 500))
    for reason in policy.reasons(facts):
        print(f"  {visible(reason, 500)}")
    decision = policy.decide(facts)
    assert decision is not None
    treatment = decision.treatment
    if treatment is None and policy.unknown is not None and not decision.leave and decision.rule != "except":
        print(f"  -> class {policy.unknown}, as all that has no mark: {visible(decision.rule, 500)}")
        return
    if treatment is None:
        print(f"  -> left as it is: {visible(decision.rule, 500)}")
        return
    shaped = treatment.shaped
    least = f"{shaped.rate_kbit} kbit/s" if shaped.rate_kbit else f"{shaped.share:.0%} of the line"
    print(
        f"  -> class {shaped.name}, DSCP {dscp_name(treatment.dscp)}, mark {treatment.mark:#010x}, queue "
        f"{shaped.classid} (at least {least}, at most {shaped.ceiling:.0%}): by {visible(decision.rule, 500)}"
    )


def _from_words(text: str, known: dict[str, Any]) -> Facts:
    """`service=sip name=... from=ADDRESS to=ADDRESS:PORT confidence=likely`. Raises ConfigError."""
    given: dict[str, str] = {}
    for word in text.split():
        key, sign, value = word.partition("=")
        if not sign or key not in _WORDS or key in given:
            raise ConfigError(f"--flow {text!r}: {word!r}: write KEY=VALUE once each, of {', '.join(_WORDS)}")
        given[key] = value
    service = given.get("service")
    if service is not None and service not in known:
        raise ConfigError(f"--flow {text!r}: no service {service!r}: `flowsonar signatures list` has them all")
    return _facts(given, f"--flow {text!r}", known, confidence="confirmed" if service else "unknown")


def _from_record(line: str, known: dict[str, Any]) -> tuple[str, Facts]:
    """A line that `watch`, `read` or `shape` wrote. Raises ConfigError."""
    from flowsonar.model import ENCRYPTED

    try:
        record = json.loads(line)
        label = record.get("flowsonar") or {}
        ends = (record.get("src_ip"), record.get("dest_ip"))
        encrypted = any(piece.get("signature") == ENCRYPTED for piece in label.get("evidence") or ())
        given = {
            "service": label.get("service"),
            "product": label.get("product"),
            "name": label.get("name"),
            "class": label.get("class"),
            "confidence": label.get("confidence"),
            "from": ends[0],
            "to": ends[1],
        }
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ConfigError(f"--flow: not a record of flowsonar ({line[:80]!r})") from error
    texts = {key: value for key, value in given.items() if isinstance(value, str)}
    facts = _facts(texts, "--flow: the record", known, confidence="unknown")
    facts = facts._replace(encrypted=encrypted and facts.service is None)
    name = f" {facts.name}" if facts.name else ""
    return f"{facts.service or 'unknown'} {facts.confidence}{name} {ends[0]} > {ends[1]}", facts


def _facts(given: dict[str, str], where: str, known: dict[str, Any], *, confidence: str) -> Facts:
    from flowsonar.model import Confidence, TrafficClass
    from flowsonar.shaping.policy import Facts

    try:
        service = given.get("service")
        return Facts(
            client=_address(given.get("from")),
            server=_address(given.get("to")),
            service=service,
            product=given.get("product"),
            name=given.get("name"),
            traffic_class=TrafficClass(given.get("class") or known.get(service or "", TrafficClass.DEFAULT)),
            confidence=Confidence(given.get("confidence", confidence)),
        )
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _address(text: str | None) -> Any:
    """An address, with or without a port behind it."""
    if text is None:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return ip_address(text.rpartition(":")[0].strip("[]"))
