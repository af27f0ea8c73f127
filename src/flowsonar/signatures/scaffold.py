"""The beginning of a signature file for a new service."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from flowsonar.errors import ConfigError

__all__ = ["Seen", "render_scaffold"]

_TEXT = r"""# What it is, in one line. What the probe does to the other side. What else could look the same.
service = "@SERVICE@"
title = "@SERVICE@: say what it is"
class = "default"                # control, realtime, interactive, streaming, default or bulk
ports.tcp = []                   # default ports; also ports.udp, and ports.tls where it speaks TLS from the first byte
references = ["the specification: RFC 0000 section 0"]
speaks-first = "client"          # client, server or either

# One harmless question. It must change nothing on the other side.
[[probe]]
name = "hello"
transport = "tcp"
send = 'HELLO {nonce:8 as hex}\r\n'

# What only this service answers. `contains` and `fields` with `echo` are the strongest proof.
[[reply]]
name = "welcome"
after = ["hello"]                # leave it out when the reply may come to any probe
pattern = '^WELCOME (?P<product>[^ /\r\n]+)/(?P<version>[^ \r\n]+)\r\n'
contains = []
confidence = "likely"            # confirmed only when no other service can say the same
product = "{product}"
version = "{version}"

# The first bytes of a flow of this service, from the initiator or the responder.
[[payload]]
name = "request"
side = "initiator"
pattern = '^HELLO [^ \r\n]+\r\n'
confidence = "likely"

# At least one example for each pattern above, with where the bytes were seen; and near misses.
[[example]]
after = "hello"
bytes = 'WELCOME sampled/1.2\r\n'
product = "sampled"
version = "1.2"
source = "sampled 1.2, run here"

[[example]]
side = "initiator"
bytes = 'HELLO 0123456789abcdef\r\n'
source = "client of sampled 1.2"

[[example]]
after = "hello"
bytes = 'WELCOMED\r\n'
matches = false
source = "near miss: another word"
"""


_FROM = """# What it is, in one line. What the probe does to the other side. What else could look the same.
service = "@SERVICE@"
title = "@SERVICE@: say what it is"
class = "default"                # control, realtime, interactive, streaming, default or bulk
ports.@TRANSPORT@ = []                   # default ports; it was found on port @PORT@
references = ["the specification: RFC 0000 section 0"]
speaks-first = "@SPEAKS@"          # client, server or either

# A question of its own makes it surer: see `flowsonar signatures new` without --from, and docs/signatures.md.

# What it answered to the questions of others. Keep of each pattern what never changes.
"""
_PIECE = """
[[reply]]
name = "answer-@NUMBER@"
pattern = '^@PATTERN@'
transport = "@TRANSPORT@"
confidence = "likely"            # confirmed only when no other service can say the same

[[example]]
after = "@AFTER@"
bytes = '@BYTES@'
transport = "@TRANSPORT@"
source = "the program and its version, as seen here"
"""
_NEAR_MISS = """
[[example]]
after = "@AFTER@"
bytes = '@BYTES@'
transport = "@TRANSPORT@"
matches = false
source = "near miss: one bit is another"
"""
_PATTERN_BYTES = 24


@dataclass(frozen=True, slots=True)
class Seen:
    """What an endpoint answered that nobody could identify."""

    transport: str
    port: int
    answers: tuple[tuple[str, bytes], ...]
    """Probe (`listen` where it spoke first) and what came."""

    @classmethod
    def of(cls, record: object) -> Seen | None:
        """Take what a record of `flowsonar probe --json` has; None where that is nothing to make a signature of."""
        try:
            transport = str(record["proto"]).lower()  # type: ignore[index]
            port = int(record["dest_port"])  # type: ignore[index]
            own = record["flowsonar"]  # type: ignore[index]
            pieces = [(str(one["probe"] or "listen"), bytes.fromhex(one["data"])) for one in own["evidence"]]
        except (KeyError, TypeError, ValueError):
            return None
        answers = tuple({data: (probe, data) for probe, data in reversed(pieces) if data}.values())[::-1]
        named = all(_PROBE.fullmatch(probe) for probe, _ in answers)
        if own.get("service") or transport not in ("tcp", "udp") or not answers or not named:
            return None
        return cls(transport, port, answers)


_PROBE = re.compile(r"[a-z0-9-]+(?:/[a-z0-9-]+)?")


def render_scaffold(service: str, seen: Seen | None = None) -> str:
    """The text of `SERVICE.toml`; it passes `flowsonar signatures check` as it is. Raises ConfigError.

    With `seen`, its patterns and examples are what was answered.
    """
    if not re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", service):
        raise ConfigError(f"{service!r} is no service name: use lower-case letters, digits and -")
    if seen is None:
        return _TEXT.replace("@SERVICE@", service)
    speaks = "server" if any(probe == "listen" for probe, _ in seen.answers) else "client"
    text = _FROM
    for number, (probe, data) in enumerate(seen.answers, 1):
        piece = _PIECE.replace("@NUMBER@", str(number)).replace("@AFTER@", probe)
        text += piece.replace("@PATTERN@", _escaped(data[:_PATTERN_BYTES])).replace("@BYTES@", _escaped(data))
    probe, data = seen.answers[0]
    text += _NEAR_MISS.replace("@AFTER@", probe).replace("@BYTES@", _escaped(bytes([data[0] ^ 0x20]) + data[1:]))
    marks = {"SERVICE": service, "TRANSPORT": seen.transport, "PORT": str(seen.port), "SPEAKS": speaks}
    for mark, value in marks.items():
        text = text.replace(f"@{mark}@", value)
    return text


def _escaped(data: bytes) -> str:
    """As both patterns and byte strings write it, inside TOML's single quotes."""
    return "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in data)


_PLAIN = frozenset(string.ascii_letters.encode() + string.digits.encode() + b' :,;=/_<>!~%&"')
