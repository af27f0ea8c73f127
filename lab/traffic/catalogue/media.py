"""Streams: RTSP of GStreamer and of rtsp-server-perl, RTP and MPEG-TS that nobody announces, SRT, RTMP, Icecast."""

from __future__ import annotations

from pathlib import Path

from lab.catalogue import streaming
from lab.catalogue.entry import Entry
from lab.traffic.mode import Mode, Stage, Start, of_entry

__all__ = ["MODES"]

_PEERS = Path(__file__).resolve().parents[1] / "peers"
_PICTURE = ("-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10")
_SOUND = ("-re", "-f", "lavfi", "-i", "sine=frequency=440")
_GSTREAMER = (
    "gir1.2-gst-rtsp-server-1.0",
    "python3-gi",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-tools",
)


def _ffmpeg(*words: str | Path) -> list[str | Path]:
    return ["ffmpeg", "-nostdin", "-loglevel", "error", *words]


def _rtsp_server(stage: Stage) -> int:
    port = stage.ports.one()
    stage.serve("/usr/bin/python3", _PEERS / "rtsp_server.py", stage.right, str(port), name="gst-rtsp", tcp=port)
    stage.expect("rtsp", "tcp", port)
    stage.expect("rtp", "udp", (1024, 65535))
    return port


def _watched(transport: str) -> Start:
    """Ffmpeg plays it."""

    def start(stage: Stage) -> None:
        url = f"rtsp://{stage.right}:{_rtsp_server(stage)}/lab"
        stage.client(*_ffmpeg("-rtsp_transport", transport, "-i", url, "-t", str(stage.seconds), "-f", "null", "-"))

    return start


def _played(transport: str) -> Start:
    """GStreamer plays it."""

    def start(stage: Stage) -> None:
        url = f"rtsp://{stage.right}:{_rtsp_server(stage)}/lab"
        stage.client(
            *("gst-launch-1.0", "-q", "rtspsrc", f"location={url}", f"protocols={transport}", "!", "fakesink"),
            lasts=True,
        )

    return start


def _recorded(transport: str) -> Start:
    """Ffmpeg gives its picture to rtsp-server-perl, which another ffmpeg plays."""

    def start(stage: Stage) -> None:
        port, source = stage.ports.one(), stage.ports.one()
        words = ["rtsp-server-perl", "--clientport", str(port), "--serverport", str(source)]
        stage.serve(*words, "--client_listen_address", "0.0.0.0", "--source_listen_address", "0.0.0.0", tcp=source)
        url = f"rtsp://{stage.right}:{source}/lab"
        words = [*_PICTURE, "-t", str(stage.seconds + 3), "-c:v", "mpeg4", "-f", "rtsp", "-rtsp_transport", "udp"]
        stage.client(*_ffmpeg(*words, url))
        url = f"rtsp://{stage.right}:{port}/lab"
        words = ["-rtsp_transport", transport, "-i", url, "-t", str(stage.seconds), "-f", "null", "-"]
        stage.client(*_ffmpeg(*words), after_s=2)
        stage.expect("rtsp", "tcp", port)
        stage.expect("rtsp", "tcp", source)
        stage.expect("rtp", "udp", (1024, 65535))

    return start


def _sent(kind: str, what: tuple[str, ...], *, secret: bool = False) -> Start:
    """Ffmpeg sends RTP that nobody announces; somebody receives it."""

    def start(stage: Stage) -> None:
        low, _ = stage.ports.range()
        key = [
            "-srtp_out_suite",
            "AES_CM_128_HMAC_SHA1_80",
            "-srtp_out_params",
            "dGhlIGxhYm9yYXRvcnkncyBrZXkgYW5kIHNhbHQu",
        ]
        url = f"{'srtp' if secret else 'rtp'}://{stage.right}:{low}?localport={low + 40}"
        words = [*what, "-t", str(stage.seconds), "-c:v", "mpeg4", "-c:a", "pcm_mulaw", "-ar", "8000", "-f", "rtp"]
        stage.client(*_ffmpeg(*words, *(key if secret else ()), url))
        sink = ["gst-launch-1.0", "-q", "udpsrc", f"port={low}", "!", "fakesink"]
        stage.serve(*sink, "udpsrc", f"port={low + 1}", "!", "fakesink", name=f"sink-{kind}", udp=low)
        stage.expect("rtp", "udp", (low, low + 60))

    return start


def _session(stage: Stage) -> None:
    """GStreamer's rtpbin on both sides, with control packets both ways."""
    low, _ = stage.ports.range()

    def words(name: str, other: str, own: int, there: int) -> list[str]:
        caps = "application/x-rtp,media=audio,clock-rate=8000,encoding-name=PCMU"
        return [
            *("gst-launch-1.0", "-q", "rtpbin", f"name={name}"),
            *("audiotestsrc", "is-live=true", "!", "audioconvert", "!", "audio/x-raw,rate=8000", "!", "mulawenc", "!"),
            *("rtppcmupay", "!", f"{name}.send_rtp_sink_0"),
            *(f"{name}.send_rtp_src_0", "!", "udpsink", f"host={other}", f"port={there}", f"bind-port={own + 4}"),
            "async=false",
            *(f"{name}.send_rtcp_src_0", "!", "udpsink", f"host={other}", f"port={there + 1}", f"bind-port={own + 5}"),
            *("sync=false", "async=false"),
            *("udpsrc", f"port={own}", f"caps={caps}", "!", f"{name}.recv_rtp_sink_0", f"{name}.", "!", "fakesink"),
            "async=false",
            *("udpsrc", f"port={own + 1}", "!", f"{name}.recv_rtcp_sink_0"),
        ]

    stage.serve(*words("b", stage.left, low, low + 20), name="rtpbin", udp=low)
    stage.client(*words("a", stage.right, low + 20, low), lasts=True)
    stage.expect("rtp", "udp", (low, low + 60))


def _transport_stream(stage: Stage) -> None:
    port = stage.ports.one()
    stage.serve("gst-launch-1.0", "-q", "udpsrc", f"port={port}", "!", "fakesink", name="sink-ts", udp=port)
    words = [*_PICTURE, "-t", str(stage.seconds), "-c:v", "mpeg2video", "-f", "mpegts"]
    stage.client(*_ffmpeg(*words, f"udp://{stage.right}:{port}?pkt_size=1316"))
    stage.expect("mpeg-ts", "udp", port)


def _srt(stage: Stage) -> None:
    port = stage.ports.one()
    there = f"srt://{stage.right}:{port}?mode=listener"
    stage.serve(*_ffmpeg("-i", there, "-f", "null", "-"), name="srt", udp=port)
    words = [*_PICTURE, "-t", str(stage.seconds), "-c:v", "mpeg2video", "-f", "mpegts"]
    stage.client(*_ffmpeg(*words, f"srt://{stage.right}:{port}?mode=caller"))
    stage.expect("srt", "udp", port)


def _icecast(stage: Stage) -> None:
    port, folder = stage.ports.one(), stage.folder("icecast")
    (folder / "icecast.xml").write_text(streaming._ICECAST.format(folder=folder, port=port))
    stage.serve("icecast2", "-c", folder / "icecast.xml", tcp=port)
    words = [*_SOUND, "-t", str(stage.seconds + 2), "-c:a", "libmp3lame", "-content_type", "audio/mpeg", "-f", "mp3"]
    stage.client(*_ffmpeg(*words, f"icecast://source:lab@{stage.right}:{port}/lab"))
    url = f"http://{stage.right}:{port}/lab"
    stage.client(*_ffmpeg("-t", str(stage.seconds - 1), "-i", url, "-f", "null", "-"), after_s=2)
    stage.expect("http", "tcp", port, also=("shoutcast", "icecast"))


def _entry(name: str) -> Entry:
    return next(entry for entry in streaming.PROGRAMS if entry.name == name)


_FFMPEG = (*_GSTREAMER, "ffmpeg")
MODES: tuple[Mode, ...] = (
    Mode(program="gst-rtsp-server", mode="UDP, ffmpeg", start=_watched("udp"), packages=_FFMPEG, quick=True),
    Mode(program="gst-rtsp-server", mode="TCP, ffmpeg", start=_watched("tcp"), packages=_FFMPEG),
    Mode(program="gst-rtsp-server", mode="UDP, GStreamer", start=_played("udp"), packages=_FFMPEG),
    Mode(program="gst-rtsp-server", mode="TCP, GStreamer", start=_played("tcp"), packages=_FFMPEG),
    Mode(program="rtsp-server-perl", mode="UDP", start=_recorded("udp"), packages=("rtsp-server-perl", "ffmpeg")),
    Mode(program="rtsp-server-perl", mode="TCP", start=_recorded("tcp"), packages=("rtsp-server-perl", "ffmpeg")),
    Mode(program="ffmpeg", mode="RTP, sound", start=_sent("sound", _SOUND), packages=_FFMPEG, quick=True),
    Mode(program="ffmpeg", mode="RTP, picture", start=_sent("picture", (*_PICTURE,)), packages=_FFMPEG),
    Mode(program="ffmpeg", mode="SRTP", start=_sent("secret", _SOUND, secret=True), packages=_FFMPEG),
    Mode(program="ffmpeg", mode="MPEG-TS", start=_transport_stream, packages=_FFMPEG),
    Mode(program="GStreamer", mode="RTP, both ways", start=_session, packages=_GSTREAMER),
    Mode(program="ffmpeg", mode="SRT", start=_srt, packages=("ffmpeg",)),
    Mode(program="icecast", mode="", start=_icecast, packages=("icecast2", "ffmpeg")),
    of_entry(_entry("nginx-rtmp")),
)
