"""GStreamer's RTSP server with a test picture: `python3 rtsp_server.py ADDRESS PORT`, with the system's Python (gi)."""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

_PICTURE = (
    "( videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=10/1 ! jpegenc"
    " ! rtpjpegpay name=pay0"
    " audiotestsrc is-live=true ! audioconvert ! audio/x-raw,rate=8000 ! mulawenc ! rtppcmupay name=pay1 )"
)

if __name__ == "__main__":
    address, port = sys.argv[1:]
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(address)
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(_PICTURE)
    factory.set_shared(True)
    server.get_mount_points().add_factory("/lab", factory)
    server.attach(None)
    GLib.MainLoop().run()
