"""The real programs of the laboratory, one module a kind."""

from __future__ import annotations

from lab.services import ftp, impostors, mail, media, names, shell, skype, stores, web
from lab.services.base import Client, Data, Service, Site, Target

__all__ = ["STARTERS", "Client", "Data", "Service", "Site", "Target"]

STARTERS = (
    web.start,
    ftp.start,
    mail.start,
    shell.start,
    names.start,
    stores.start,
    media.start,
    skype.start,
    impostors.start,
)
"""Each starts its programs and says what endpoints they offer."""
