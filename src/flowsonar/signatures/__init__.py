"""What identifies each service, as data: the language, its files, and the matcher that tries them all."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowsonar.signatures.catalogue import SignatureSet
    from flowsonar.signatures.checking import Problem, check
    from flowsonar.signatures.conditions import Reply
    from flowsonar.signatures.language import ProbeSpec, Signature, Speaker
    from flowsonar.signatures.loader import load_signatures
    from flowsonar.signatures.matcher import Matcher
    from flowsonar.signatures.rules import Match
    from flowsonar.signatures.scaffold import render_scaffold
    from flowsonar.signatures.templates import ConnectionFacts, Message, render

__all__ = [
    "ConnectionFacts",
    "Match",
    "Matcher",
    "Message",
    "ProbeSpec",
    "Problem",
    "Reply",
    "Signature",
    "SignatureSet",
    "Speaker",
    "check",
    "load_signatures",
    "render",
    "render_scaffold",
]

_MODULES = {
    "catalogue": ("SignatureSet",),
    "checking": ("Problem", "check"),
    "conditions": ("Reply",),
    "language": ("ProbeSpec", "Signature", "Speaker"),
    "loader": ("load_signatures",),
    "matcher": ("Matcher",),
    "rules": ("Match",),
    "scaffold": ("render_scaffold",),
    "templates": ("ConnectionFacts", "Message", "render"),
}


def __getattr__(name: str) -> Any:
    """Import a part when it is asked for: who only matches needs neither the checks nor the scaffold."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
