"""What can be said of a probe by looking at what it would send."""

from __future__ import annotations

from flowsonar.signatures.language import ProbeSpec, SentField

__all__ = ["begins", "is_http2", "is_line", "is_random", "is_text"]

_SPACE = b"\t\r\n"


def begins(probe: ProbeSpec) -> bytes:
    """The bytes that its first message always begins with; empty where they are chosen anew each time."""
    for step in probe.steps:
        if step.send is not None:
            first = step.send.parts[0] if step.send.parts else b""
            return first if isinstance(first, bytes) else b""
    return b""


def is_text(probe: ProbeSpec) -> bool:
    """It is made of lines of text: four letters before a number are none, nor is a line that a zero ends."""
    first = next((step.send for step in probe.steps if step.send is not None), None)
    parts = [part for part in first.parts if isinstance(part, bytes)] if first is not None else []
    said = b"".join(parts)
    return len(begins(probe)) >= 4 and b"\n" in said and all(32 <= byte < 127 or byte in _SPACE for byte in said)


def is_line(probe: ProbeSpec) -> bool:
    """It is text, and not a message with headers: that ends with an empty line."""
    if not is_text(probe):
        return False
    last = probe.steps[0].send.parts[-1] if probe.steps[0].send is not None else b""
    return not (isinstance(last, bytes) and last.endswith(b"\r\n\r\n"))


def is_random(probe: ProbeSpec) -> bool:
    """Most of what it says is random bytes: what a service without a recognisable beginning is asked with."""
    parts = [part for step in probe.steps if step.send is not None for part in step.send.parts]
    chance = sum(part.size for part in parts if isinstance(part, SentField))
    return chance > 2 * sum(len(part) for part in parts if isinstance(part, bytes))


def is_http2(probe: ProbeSpec) -> bool:
    """It opens HTTP/2 without asking first."""
    return begins(probe)[:5] == b"PRI *"  # RFC 9113 section 3.4
