"""What a flow shows by itself: patterns on first bytes, hellos, dialogues, announced flows, sequences."""

from flowsonar.passive.flow import NOTHING, Findings, PassiveFlow
from flowsonar.passive.ftp import FOLLOW
from flowsonar.passive.reader import PassiveReader

__all__ = ["FOLLOW", "NOTHING", "Findings", "PassiveFlow", "PassiveReader"]
