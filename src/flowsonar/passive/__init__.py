"""What a flow shows by itself: patterns on first bytes, hellos, dialogues, announced flows, sequences."""

from typing import Final

from flowsonar.passive.flow import NOTHING, Findings, PassiveFlow
from flowsonar.passive.ftp import FOLLOW as FOLLOW_FTP
from flowsonar.passive.reader import PassiveReader
from flowsonar.passive.sip import FOLLOW_RTSP

__all__ = ["FOLLOW", "NOTHING", "Findings", "PassiveFlow", "PassiveReader"]

FOLLOW: Final = (*FOLLOW_FTP, *FOLLOW_RTSP)
"""First bytes of flows whose further dialogue announces other flows."""
