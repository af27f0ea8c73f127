"""Wires the parts, owns tasks and shutdown; no logic of its own. One module per job."""

from flowsonar.app.parts import Parts
from flowsonar.app.probing import Probing
from flowsonar.app.reading import Progress, Reading
from flowsonar.app.watching import Watching

__all__ = ["Parts", "Probing", "Progress", "Reading", "Watching"]
