"""Every program that `make lab-services` asks: one module a family, each with its `PROGRAMS`."""

from __future__ import annotations

import importlib
import pkgutil

from lab.catalogue.entry import Entry

__all__ = ["QUICK", "families"]

QUICK = frozenset(
    {
        "nginx", "python-http", "vsftpd", "pyftpdlib", "openssh", "postfix", "dovecot", "bind", "dnsmasq", "redis",
        "rtsp-server-perl", "skype-standin", "impostors",
    }
)  # fmt: skip
"""Programs that CI asks: those of the laboratory but Kamailio, whose TCP port takes more than five connections."""


def families() -> dict[str, tuple[Entry, ...]]:
    """The programs of each module of this folder that has some."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name != "__main__")
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module.PROGRAMS for name, module in modules.items() if hasattr(module, "PROGRAMS")}
