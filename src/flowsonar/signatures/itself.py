"""What a server calls itself where no signature and no fingerprint knows the program: its own field, taken as it is.

Only for answers to our questions: HTTP, RTSP and SIP have a field for it (`Server`, `User-Agent`), SSH a version line.
"""

from __future__ import annotations

import re
from typing import Final

from flowsonar.signatures.knowledge import Known

__all__ = ["SELF_NAMED", "called_by_itself"]

SELF_NAMED: Final = frozenset({"http", "rtsp", "sip", "ssh"})

HEAD_BYTES: Final = 4096

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
        found = _SSH.match(data[:255].decode("latin-1"))
    elif service in ("http", "rtsp", "sip"):
        head, _, _ = data[:HEAD_BYTES].partition(b"\r\n\r\n")
        field = _FIELD.search(head)
        text = field[1].decode("latin-1").strip() if field else ""
        platform = _PLATFORM.match(text)
        text = text[platform.end() :] if platform else text
        found = _NAME.match(_LANGUAGE.sub("", text, count=1))
    else:
        return None
    if found is None:
        return None
    return Known(f"it calls itself {found['name']}", found["name"], found["version"])
