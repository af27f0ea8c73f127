"""Carries a plan of queues out, and takes it back whole: also after a kill -9, from what was written down before.

`tc -batch` and `ip -batch` do the work: they are what people review a dry run with, every gateway has them, and they
know the options of their kernel. Before anything is changed, the steps back are written to a file; each of them acts
only on what is ours, so that it may be carried out late, twice, or when an interface is gone.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from flowsonar.errors import ShapingError
from flowsonar.shaping import offload, tc
from flowsonar.shaping.queues import QueuePlan

__all__ = ["PATH", "Applier", "default_state", "listed", "restored_words"]

_SECONDS: Final = 30
PATH: Final = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
_CLASSLESS: Final = frozenset({"fq_codel", "cake", "pfifo", "bfifo", "pfifo_head_drop", "pfifo_fast"})
"""Kinds that can be put back as they were."""

Step = dict[str, str]


def default_state() -> Path:
    """Where the steps back of this network namespace are kept: gone at the next start of the machine, as queues are."""
    number = Path("/proc/thread-self/ns/net").stat().st_ino
    return Path("/run/flowsonar") / f"queues-{number}.json"


def _run(program: str, arguments: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": PATH, "LC_ALL": "C"}
    try:
        return subprocess.run(
            [program, *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            env=environment,
        )
    except FileNotFoundError as error:
        raise ShapingError(f"{program} is not installed: apt-get install iproute2") from error
    except subprocess.TimeoutExpired as error:
        raise ShapingError(f"{program} did not answer within {_SECONDS} s") from error


def listed(program: str, *arguments: str) -> list[dict[str, Any]]:
    """What a program lists; nothing where the interface is gone."""
    done = _run(program, ["-j", *arguments])
    try:
        found = json.loads(done.stdout or "[]")
    except ValueError:
        return []
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _root(device: str) -> dict[str, Any] | None:
    """The queue that somebody gave an interface; None where it has what the kernel gives all."""
    for item in listed("tc", "qdisc", "show", "dev", device):
        if item.get("root") and item.get("handle", "0:") != "0:":
            return item
    return None


def restored_words(kind: str, handle: str, options: dict[str, Any]) -> str | None:
    """The words for tc that make such a queue again, of what `tc -j qdisc show` said; None where that is not safe."""
    if kind not in _CLASSLESS:
        return None
    words = [f"handle {handle}", kind]
    if kind in {"pfifo", "bfifo", "pfifo_head_drop"}:
        words.append(f"limit {int(options['limit'])}")
    elif kind == "fq_codel":
        words += [f"{name} {int(options[name])}" for name in ("limit", "flows", "quantum") if name in options]
        words += [
            f"{name} {int(options[name])}us" for name in ("target", "interval", "ce_threshold") if name in options
        ]
        words += [f"{name} {int(options[name])}" for name in ("memory_limit", "drop_batch") if name in options]
        words.append("ecn" if options.get("ecn") else "noecn")
    elif kind == "cake":
        words += _cake_words(options)
    return " ".join(words)


def _cake_words(options: dict[str, Any]) -> list[str]:
    bandwidth = options.get("bandwidth", "unlimited")
    words = [f"bandwidth {int(bandwidth) * 8}bit" if isinstance(bandwidth, int) else "unlimited"]
    words += [str(options[name]) for name in ("diffserv", "flowmode") if name in options]
    for name in ("nat", "wash", "ingress"):
        if name in options:
            words.append(name if options[name] else {"ingress": "egress"}.get(name, f"no{name}"))
    acks = {"disabled": "no-ack-filter", "enabled": "ack-filter", "aggressive": "ack-filter-aggressive"}
    if options.get("ack-filter") in acks:
        words.append(acks[options["ack-filter"]])
    if "split_gso" in options:
        words.append("split-gso" if options["split_gso"] else "no-split-gso")
    if "rtt" in options:
        words.append(f"rtt {int(options['rtt'])}us")
    words += ["raw"] if options.get("raw") else [f"overhead {int(options.get('overhead', 0))}"]
    if options.get("atm") in {"atm", "ptm", "noatm"}:
        words.append(str(options["atm"]))
    if options.get("mpu"):
        words.append(f"mpu {int(options['mpu'])}")
    if options.get("fwmark") not in {None, 0, "0"}:
        words.append(f"fwmark {options['fwmark']}")
    return words


class Applier:
    """Sets queues up in the network namespace it runs in, and takes them back."""

    def __init__(self, state: Path | None = None) -> None:
        """`state` is the file with the steps back."""
        self._state = state or default_state()

    def apply(self, plan: QueuePlan) -> None:
        """Set everything up, after taking back what an earlier run has left. Raises ShapingError, with nothing left."""
        self.undo()
        steps = [step for place in plan.places for step in self._steps_back(place)]
        if not plan.commands:
            return
        self._remember(steps)
        try:
            for program, commands in groupby(plan.commands, key=lambda command: command.program):
                _carry_out(program, [command.words for command in commands])
        except ShapingError:
            self.undo()
            raise

    def undo(self) -> None:
        """Take back what the state file tells of; nothing happens where there is none."""
        try:
            steps = json.loads(self._state.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise ShapingError(
                f"{self._state}: cannot be read ({error}): delete it, and `tc qdisc del` by hand"
            ) from error
        for step in reversed(steps):
            _take_back(step)
        self._state.unlink(missing_ok=True)

    @classmethod
    def clear(cls, state: Path | None = None) -> None:
        """Take back what an earlier run has left."""
        cls(state).undo()

    def _remember(self, steps: list[Step]) -> None:
        try:
            self._state.parent.mkdir(parents=True, exist_ok=True)
            new = self._state.with_suffix(".new")
            new.write_text(json.dumps(steps, indent=1))
            new.replace(self._state)
        except OSError as error:
            raise ShapingError(f"{self._state}: cannot be written ({error.strerror}): run as root") from error

    def _steps_back(self, place: tc.Place) -> Iterable[Step]:
        """What takes one queue back, in the order of setting up. Raises ShapingError where others are in the way."""
        there = {item.get("ifname") for item in listed("ip", "link", "show")}
        for name in (place.common.outside, *place.common.inside):
            if name not in there:
                raise ShapingError(f"there is no interface {name}: see `ip link`")
        if place.way in {tc.Way.IN_IFB, tc.Way.OUT_IFB}:
            if place.device in there:
                raise ShapingError(f"{place.device} is there already: `ip link del {place.device}` if nobody needs it")
            yield {"do": "ifb", "device": place.device}
            for name in place.egress or (place.common.outside,):
                hook = "egress" if place.egress else "ingress"
                yield _hook(name, hook)
        else:
            yield _queue(place.device, tc.handle(place), place.common.discipline)
        if place.common.discipline == "htb" and place.kbit < tc.GLUED_KBIT:
            for name in sorted({place.common.outside, *place.common.inside}):
                for feature, on in offload.read(name).items():
                    if on:
                        yield {"do": "offload", "device": name, "feature": feature}


def _queue(device: str, handle: str, kind: str) -> Step:
    """The step back for an interface's own queue."""
    step = {"do": "queue", "device": device, "handle": handle, "kind": kind}
    before = _root(device)
    if before is not None:
        words = restored_words(str(before["kind"]), str(before["handle"]), before.get("options") or {})
        if words is None:
            raise ShapingError(
                f"{device} has a queue that somebody set up ({before['kind']} {before['handle']}), and it could not be "
                f"put back: `tc qdisc del dev {device} root` first, or only mark (no bandwidths)"
            )
        step["before"] = words
    return step


def _hook(device: str, hook: str) -> Step:
    """The step back for an interface whose traffic is led away."""
    kinds = {str(item.get("kind")) for item in listed("tc", "qdisc", "show", "dev", device)}
    if "ingress" in kinds:
        raise ShapingError(
            f"{device} has an ingress queue that somebody set up: `tc qdisc del dev {device} ingress` first"
        )
    return {"do": "hook", "device": device, "hook": hook, "ours": "" if "clsact" in kinds else "yes"}


def _carry_out(program: str, lines: list[str]) -> None:
    if program == "ethtool":
        for line in lines:
            _, device, feature, value = line.split()
            offload.write(device, feature, value == "on")
        return
    # A hook that is there already, with other people's filters, is used as it is.
    done = _run(program, ["-force", "-batch", "-"], "".join(f"{line}\n" for line in lines))
    failed = [number for number in sorted(tc.failed_lines(done.stderr)) if not lines[number - 1].endswith(" clsact")]
    if failed:
        first = next((line for line in done.stderr.splitlines() if line and "Command failed" not in line), "")
        raise ShapingError(f"`{program} {lines[failed[0] - 1]}` failed: {first or 'no reason given'}")
    if done.returncode != 0 and not tc.failed_lines(done.stderr):
        raise ShapingError(f"{program} failed: {done.stderr.strip() or 'no reason given'}: run as root")


def _take_back(step: Step) -> None:
    """One step back; what is gone, or is no longer ours, is left."""
    device, what = step["device"], step["do"]
    if what == "ifb":
        _run("ip", ["link", "del", "dev", device, "type", "ifb"])
    elif what == "hook":
        _run("tc", ["filter", "del", "dev", device, step["hook"], "prio", str(tc.PREFERENCE)])
        used = any(listed("tc", "filter", "show", "dev", device, hook) for hook in ("ingress", "egress"))
        if step["ours"] and not used:
            _run("tc", ["qdisc", "del", "dev", device, "clsact"])
    elif what == "offload":
        offload.write(device, step["feature"], True)
    else:
        now = _root(device)
        if now is None or (now.get("kind"), now.get("handle")) != (step["kind"], step["handle"]):
            return
        _run("tc", ["qdisc", "del", "dev", device, "root"])
        if "before" in step:
            _run("tc", ["qdisc", "replace", "dev", device, "root", *step["before"].split()])
