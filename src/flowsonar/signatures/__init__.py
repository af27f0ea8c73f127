"""What identifies each service, as data: the language, its files, and the matcher that tries them all."""

from flowsonar.signatures.check import Problem, check
from flowsonar.signatures.language import ProbeSpec, Signature, Speaker
from flowsonar.signatures.loader import SignatureSet, load_signatures
from flowsonar.signatures.matcher import Match, Matcher, Reply
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
