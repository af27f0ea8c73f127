"""What a server calls itself where no signature and no fingerprint knows the program: its own field, taken as it is.

Only for answers to our questions: HTTP, RTSP and SIP have a field for it (`Server`, `User-Agent`), SSH a version line.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from flowsonar.signatures.knowledge import Known

__all__ = ["SELF_NAMED", "called_by_itself"]

SELF_NAMED: Final = frozenset({"http", "rtsp", "sip", "ssh"})

HEAD_BYTES: Final = 4096
_SSH_BYTES: Final = 255
"""RFC 4253, section 4.2: the version line with its end."""
_REMEMBERED: Final = 512
"""Lines of which is remembered whom they name; the one that was not asked for longest is forgotten first."""

_FIELD: Final = re.compile(rb"\n(?:Server|User-Agent):[ \t]*([^\r\n]{1,120})", re.IGNORECASE)
_LANGUAGE: Final = re.compile(r"(?:Python|Ruby|Perl|PHP)/[0-9.]+ (?=[A-Za-z])")
_PLATFORM: Final = re.compile(r"[^\r\n]{1,80}?\bUPnP/[0-9.]+,? (?=[A-Za-z])")
"""UPnP Device Architecture 1.1, section 1.2.2: system, UPnP's version, product, in this order."""
_NAME: Final = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9._+-]{0,31}(?: [A-Za-z][A-Za-z._+-]{0,31}){0,4}?)"
    r"(?:[/ ][vr]?(?P<version>[0-9][0-9A-Za-z.+~_-]{0,31})|(?: [(\-,;]|[(,;]| [A-Za-z]+/)|$)"
)
_SSH: Final = re.compile(
    r"SSH-[12]\.[0-9]{1,2}-(?P<name>[A-Za-z][A-Za-z.]{1,31}?)"
    r"(?:[-_/ ]?(?:release-)?v?(?P<version>[0-9][0-9A-Za-z.+~_-]{0,31}))?(?:[ \r\n(-]|$)"
)


def called_by_itself(service: str, data: bytes) -> Known | None:
    """Product and version as the answer of a service says them; None where it says none."""
    if service == "ssh":
        return _of_ssh(data[: data.find(b"\n", 0, _SSH_BYTES) + 1 or _SSH_BYTES])
    if service not in SELF_NAMED:
        return None
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES)
    field = _FIELD.search(data, 0, HEAD_BYTES if end < 0 else end)
    return _of_field(field[1]) if field is not None else None


@functools.lru_cache(_REMEMBERED)
def _of_ssh(line: bytes) -> Known | None:
    return _known(_SSH.match(line.decode("latin-1")))


@functools.lru_cache(_REMEMBERED)
def _of_field(field: bytes) -> Known | None:
    text = field.decode("latin-1").strip()
    if "UPnP/" in text and (platform := _PLATFORM.match(text)) is not None:
        text = text[platform.end() :]
    if " " in text:
        text = _LANGUAGE.sub("", text, count=1)
    return _known(_NAME.match(text))


def _known(found: re.Match[str] | None) -> Known | None:
    if found is None:
        return None
    return Known(f"it calls itself {found['name']}", found["name"], found["version"])
