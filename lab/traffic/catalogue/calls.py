"""Calls and what stands beside them: SIPp, linphone, sipsak, MGCP, IAX2, coturn with its clients, Mumble, WebRTC."""

from __future__ import annotations

from collections.abc import Callable

from lab.traffic.catalogue.baresip import sound
from lab.traffic.mode import Mode, Stage, Start
from lab.truth import TLS

__all__ = ["MODES"]

_SCENARIO = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="laboratory">
  <send retrans="500"><![CDATA[
INVITE sip:lab@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: lab <sip:lab@[local_ip]:[local_port]>;tag=[pid]
To: lab <sip:lab@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: sip:lab@[local_ip]:[local_port]
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=lab 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000
  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="200" rtd="true"/>
  <send><![CDATA[
ACK sip:lab@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: lab <sip:lab@[local_ip]:[local_port]>;tag=[pid]
To: lab <sip:lab@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

  ]]></send>
  <nop><action><exec rtp_stream="FILE,-1,8"/></action></nop>
  <pause milliseconds="WAIT"/>
  <send retrans="500"><![CDATA[
BYE sip:lab@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: lab <sip:lab@[local_ip]:[local_port]>;tag=[pid]
To: lab <sip:lab@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

  ]]></send>
  <recv response="200" crlf="true"/>
</scenario>
"""


def _sipp(transport: str) -> Start:
    def start(stage: Stage) -> None:
        folder, port = stage.folder("sipp"), stage.ports.one()
        low, _ = stage.ports.range()
        (folder / "sound.raw").write_bytes(bytes(index * 7 & 0xFF for index in range(80_000)))
        scenario = _SCENARIO.replace("FILE", str(folder / "sound.raw"))
        (folder / "call.xml").write_text(scenario.replace("WAIT", str(int(stage.seconds * 1000))))
        kind = "u1" if transport == "udp" else "t1"
        own = ["-i", stage.right, "-mi", stage.right, "-p", str(port), "-mp", str(low)]
        words = ["sipp", "-sn", "uas", "-t", kind, *own, "-rtp_echo", "-nostdin", "-trace_err"]
        stage.serve("sh", "-c", f"cd {folder} && exec {' '.join(words)}", name="sipp", **{transport: port})
        own = ["-i", stage.left, "-mi", stage.left, "-p", str(port), "-mp", str(low + 20)]
        words = ["sipp", "-sf", str(folder / "call.xml"), "-t", kind, *own, "-m", "1", "-nostdin"]
        stage.client("sh", "-c", f"cd {folder} && exec {' '.join(words)} {stage.right}:{port}")
        stage.expect("sip", transport, port)
        stage.expect("rtp", "udp", (low, low + 60))

    return start


_LINPHONE = """[sip]
sip_port={port}
sip_tcp_port={tcp}
sip_tls_port=-1
use_ipv6=0
default_proxy=-1
media_encryption={encryption}
[rtp]
audio_rtp_port={low}
video_rtp_port={video}
[video]
enabled=0
[net]
firewall_policy=0
"""


def _linphone(transport: str, encryption: str = "none") -> Start:
    def start(stage: Stage) -> None:
        low, _ = stage.ports.range()
        ends = []
        for name, base in (("bob", low), ("alice", low + 50)):
            folder = stage.folder(f"linphone-{name}")
            (folder / ".local" / "share" / "linphone").mkdir(parents=True)
            sound(folder / "said.wav")
            port, tcp = (-1, base) if transport == "tcp" else (base, -1)
            (folder / "rc").write_text(
                _LINPHONE.format(port=port, tcp=tcp, encryption=encryption, low=base + 10, video=base + 20)
            )
            plays = f"for i in 1 2 3 4 5 6 7 8; do sleep 2; echo play {folder}/said.wav; done"
            ends.append((plays, f"HOME={folder} linphonec -c {folder}/rc"))
        files = "echo soundcard use files"
        answers = f"(sleep 1; {files}; {ends[0][0]}; sleep 3600) | {ends[0][1]} -a"
        stage.serve("sh", "-c", answers, name="linphone", **{transport: low})
        to = f"sip:bob@{stage.right}:{low};transport={transport}"
        says = f"(sleep 1; {files}; echo 'call {to}'; {ends[1][0]})"
        stage.client("sh", "-c", f"{says} | {ends[1][1]}", lasts=True)
        stage.expect("sip", transport, low)
        stage.expect("sip", transport, low + 50)
        stage.expect("rtp", "udp", (low + 10, low + 40))
        stage.expect("rtp", "udp", (low + 60, low + 90))

    return start


def _sipsak(stage: Stage) -> None:
    port = stage.ports.one()
    folder = stage.folder("sipp")
    words = f"cd {folder} && exec sipp -sn uas -i {stage.right} -p {port} -nostdin -aa"
    stage.serve("sh", "-c", words, name="sipp", udp=port)
    stage.client("sipsak", "-s", f"sip:lab@{stage.right}:{port}")
    stage.client("sipsak", "-E", "udp", "-s", f"sip:lab@{stage.right}:{port}", after_s=1)
    stage.expect("sip", "udp", port)


_MGW = """mgcp
 bind ip {address}
 bind port {port}
 rtp bind-ip {address}
 rtp port-range {low} {high}
 number endpoints 8
line vty
 no login
 bind 127.0.0.1
"""
_MGCP = (
    r"AUEP 158663169 rtpbridge/1@mgw MGCP 1.0\n",
    r"CRCX 2 rtpbridge/1@mgw MGCP 1.0\nM: sendrecv\nC: 2\nL: p:20\n\nv=0\nc=IN IP4 10.78.1.1\nm=audio 5904 RTP/AVP 0\n",
    r"DLCX 7 rtpbridge/1@mgw MGCP 1.0\nC: 2\n",
)


def _mgcp(stage: Stage) -> None:
    folder, port = stage.folder("osmo-mgw"), stage.ports.one()
    low, high = stage.ports.range()
    (folder / "cfg").write_text(_MGW.format(address=stage.right, port=port, low=low, high=high))
    stage.serve("osmo-mgw", "-c", folder / "cfg", name="osmo-mgw", udp=port)
    opens = [word for text in _MGCP for word in ("--open", text)]
    stage.client(*stage.python("lab.peers.talk", "--udp", stage.right, port, *opens, "--seconds", "1"))
    stage.expect("mgcp", "udp", port)


def _iax(stage: Stage) -> None:
    folder, port, own = stage.folder("iaxmodem"), 4569, stage.ports.one()  # it knows no other port of a server
    (folder / "modem").write_text(
        f"device {folder}/tty\nowner root:root\nmode 660\nport {own}\nrefresh 5\nserver {stage.right}\n"
        f"peername lab\nsecret lab\ncidname lab\ncidnumber 1\ncodec slinear\n"
    )
    stage.serve(*stage.python("lab.traffic.peers.answers", "iax", stage.right, port), name="iax", udp=port)
    # Its configuration's place is fixed: a folder of ours is laid over it.
    lay = f"mount --bind {folder} /etc/iaxmodem && exec iaxmodem modem"
    stage.client("unshare", "-m", "sh", "-c", lay, lasts=True)
    stage.expect("iax2", "udp", port)


def _coturn(stage: Stage) -> int:
    folder, port = stage.folder("coturn"), stage.ports.one()
    users = ["--lt-cred-mech", "--user", "lab:lab", "--realm", "lab.example", "--no-cli"]
    keys = ["--cert", stage.certificate, "--pkey", stage.certificate, "--tls-listening-port", str(port + 1)]
    words = ["turnserver", "-n", "-L", stage.right, "-p", str(port), "--relay-ip", stage.right, *users, *keys]
    folders = ["--db", folder / "db", "--pidfile", folder / "pid", "-l", "stdout"]
    stage.serve(*words, *folders, "--allow-loopback-peers", name="coturn", udp=port, tcp=port)
    return port


def _turn(*options: str, secure: bool = False, tcp: bool = False) -> Start:
    def start(stage: Stage) -> None:
        port = _coturn(stage) + secure
        many = str(int(stage.seconds * 10))
        words = ["turnutils_uclient", *options, "-u", "lab", "-w", "lab", "-y", "-n", many, "-z", "100", "-m", "1"]
        stage.client(*words, "-p", str(port), "-L", stage.left, stage.right)
        over = TLS if secure and tcp else frozenset({None})
        if secure and not tcp:
            stage.expect("dtls", "udp", port)  # nobody can look inside
        stage.expect("turn", "tcp" if tcp else "udp", port, over=over, outside=("stun",))

    return start


def _stun(stage: Stage) -> None:
    port = _coturn(stage)
    # who sees one direction only asks the relay, which says what it is
    stage.client("turnutils_stunclient", "-p", str(port), "-L", stage.left, stage.right)
    stage.client("turnutils_natdiscovery", "-m", "-p", str(port), "-L", stage.left, stage.right)
    stage.expect("stun", "udp", port, also=("turn",))


def _mumble(stage: Stage) -> None:
    port, folder = stage.ports.one(), stage.folder("mumble")
    (folder / "ini").write_text(
        f"database={folder}/db.sqlite\nhost={stage.right}\nport={port}\nbonjour=False\nuname=root\n"
        f"sslCert={stage.certificate}\nsslKey={stage.certificate}\n"
    )
    stage.serve("murmurd", "-fg", "-ini", folder / "ini", name="mumble", tcp=port)
    stage.client(*stage.python("lab.traffic.peers.mumble", stage.right, port, stage.seconds))
    stage.client("quakestat", "-mumble", f"{stage.right}:{port}")
    stage.expect("mumble", "tcp", port, over=TLS)
    stage.expect("mumble", "udp", port)


def _webrtc(what: str, *, relay: bool = False) -> Start:
    def start(stage: Stage) -> None:
        folder = stage.folder("webrtc")
        server = [f"turn:{stage.right}:{_coturn(stage)}?transport=udp"] if relay else []
        sides: tuple[tuple[str, str, Callable[..., None]], ...] = (
            ("answer", stage.right, stage.serve),
            ("offer", stage.left, stage.client),
        )
        for role, address, begin in sides:
            more = server if role == "offer" else []
            begin(*stage.python("lab.traffic.peers.webrtc", role, address, folder, what, stage.seconds, *more))
        if relay:
            stage.expect("turn", "udp", int(server[0].split(":")[2].split("?")[0]), outside=("stun",))
        keyed = frozenset({None, "dtls"})
        stage.expect("dtls" if what == "data" else "rtp", "udp", (1024, 65535), over=keyed)

    return start


def _teamspeak(stage: Stage) -> None:
    port = stage.ports.one()
    stage.serve(*stage.python("lab.traffic.peers.answers", "teamspeak", stage.right, port), name="ts3", udp=port)
    first = r"TS3INIT1\x00\x65\x00\x00\x88\x09\x83\x8c\xcf\x00\x5b\xc6\xa0\x10\x11\x22\x33\x44" + r"\x00" * 8
    stage.client(*stage.python("lab.peers.talk", "--udp", stage.right, port, "--open", first, "--seconds", "1"))
    stage.expect("teamspeak3", "udp", port)


_TURN = ("coturn",)
MODES: tuple[Mode, ...] = (
    Mode(program="sipp", mode="UDP", start=_sipp("udp"), packages=("sip-tester",), quick=True),
    Mode(program="sipp", mode="TCP", start=_sipp("tcp"), packages=("sip-tester",)),
    Mode(program="linphone", mode="UDP", start=_linphone("udp"), packages=("linphone-cli",), quick=True),
    Mode(program="linphone", mode="TCP", start=_linphone("tcp"), packages=("linphone-cli",)),
    Mode(program="linphone", mode="SRTP", start=_linphone("udp", "srtp"), packages=("linphone-cli",)),
    Mode(program="linphone", mode="ZRTP", start=_linphone("udp", "zrtp"), packages=("linphone-cli",)),
    Mode(program="sipsak", mode="", start=_sipsak, packages=("sipsak", "sip-tester"), middle=False),
    Mode(
        program="osmo-mgw",
        mode="",
        start=_mgcp,
        packages=("osmo-mgw",),
        middle=False,
        standin="the call agent says what RFC 3435 has",
    ),
    Mode(
        program="iaxmodem",
        mode="",
        start=_iax,
        packages=("iaxmodem",),
        middle=False,
        standin="the server only registers",
    ),
    Mode(program="coturn", mode="STUN", start=_stun, packages=_TURN, middle=False, quick=True),
    Mode(program="coturn", mode="TURN, UDP", start=_turn(), packages=_TURN, quick=True),
    Mode(program="coturn", mode="TURN, TCP", start=_turn("-t", tcp=True), packages=_TURN),
    Mode(program="coturn", mode="TURN, TLS", start=_turn("-t", "-S", tcp=True, secure=True), packages=_TURN),
    Mode(program="coturn", mode="TURN, DTLS", start=_turn("-S", secure=True), packages=_TURN),
    Mode(program="mumble", mode="", start=_mumble, packages=("mumble-server", "qstat"), pip=("pymumble",), quick=True),
    Mode(program="aiortc", mode="audio", start=_webrtc("audio"), pip=("aiortc",), quick=True),
    Mode(program="aiortc", mode="video", start=_webrtc("video"), pip=("aiortc",)),
    Mode(program="aiortc", mode="data", start=_webrtc("data"), pip=("aiortc",)),
    Mode(program="aiortc", mode="beside TURN", start=_webrtc("audio", relay=True), packages=_TURN, pip=("aiortc",)),
    Mode(
        program="TeamSpeak 3", mode="", start=_teamspeak, middle=False, standin="both sides say its first packets only"
    ),
)
