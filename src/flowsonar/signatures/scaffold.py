"""The beginning of a signature file for a new service."""

from __future__ import annotations

import re

from flowsonar.errors import ConfigError

__all__ = ["render_scaffold"]

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


def render_scaffold(service: str) -> str:
    """The text of `SERVICE.toml`; it passes `flowsonar signatures check` as it is. Raises ConfigError."""
    if not re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", service):
        raise ConfigError(f"{service!r} is no service name: use lower-case letters, digits and -")
    return _TEXT.replace("@SERVICE@", service)
