"""What `flowsonar shape` will put into the kernel, before anything is, and how all of it is taken away again."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from flowsonar.errors import ShapingError
from flowsonar.shaping import tracking
from flowsonar.shaping.applier import Applier
from flowsonar.shaping.aspeer import clear as clear_peers
from flowsonar.shaping.braking import braked
from flowsonar.shaping.connmarks import clear_marks
from flowsonar.shaping.firewall import Firewall
from flowsonar.shaping.kernel import Kernel
from flowsonar.shaping.nftrules import Rules, render
from flowsonar.shaping.policy import Policy
from flowsonar.shaping.queues import Line, QueuePlan, plan

__all__ = ["ShapePlan", "alone", "clear", "plan_shaping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapePlan:
    """All that will be put into the kernel, before anything is."""

    policy: Policy
    rules: Rules
    queues: QueuePlan | None

    def text(self) -> str:
        """The firewall's table and the queues' commands, to be read and reviewed."""
        parts = ["# firewall: nft -f", render(self.rules)]
        parts += ["# queues"] + ([self.queues.text()] if self.queues is not None else ["# left alone: marks only\n"])
        return "\n".join(parts)


def plan_shaping(policy: Policy, lines: Sequence[Line], *, kernel: Kernel | None) -> ShapePlan:
    """Plan for the lines; without a kernel only marks. Raises ConfigError for lines that make no sense."""
    queues = None if kernel is None else plan(kernel, lines, policy.classes)
    rules = Rules(
        treatments=policy.treatments(),
        unknown=None if policy.unknown is None else policy.treatment(policy.unknown),
        exempt=tuple(map(str, policy.exempt)),
        outside=tuple(dict.fromkeys(line.wan for line in lines)),
        inside=tuple(dict.fromkeys(name for line in lines for name in line.lan)),
        windows=policy.windows and queues is not None and bool(braked(queues.places)),
        mark_only=queues is None or not queues.places,
    )
    return ShapePlan(policy=policy, rules=rules, queues=queues)


def alone() -> socket.socket | None:
    """Hold what only one `flowsonar shape` in this network namespace can hold; None where another one has it.

    The name lives in the namespace and goes with the process, however that ends.
    """
    held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        held.bind("\0flowsonar-shape")
    except OSError:
        held.close()
        return None
    return held


def clear() -> list[str]:
    """Take away all that an earlier run has left; what that was. Raises ShapingError."""
    held = alone()
    if held is None:
        raise ShapingError("a shape run is going on here: end it, it takes all away by itself")
    with held:
        done = []
        failure: ShapingError | None = None
        try:
            if Firewall().remove():
                done.append("the firewall's table is removed")
        except ShapingError as error:  # somebody else's table, perhaps: what is ours goes all the same
            failure = error
        if failure is None and (cleared := clear_marks()):
            done.append(f"the marks of {cleared} connections are cleared")
        if failure is None:
            tracking.restore()
        if clear_peers():
            done.append("the table for asking as the peer is removed")
        Applier.clear()
        if failure is not None:
            raise failure
        done.append("the queues are as they were before")
        return done
