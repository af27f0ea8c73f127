"""Where packets come from: live interfaces and capture files, as blocks of frames; and the way back into a file."""

from flowsonar.capture.capturefile import CaptureFile, open_capture
from flowsonar.capture.pcapng import PcapngWriter
from flowsonar.capture.ring import Ring

__all__ = ["CaptureFile", "PcapngWriter", "Ring", "open_capture"]
