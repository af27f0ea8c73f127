"""Calls between two baresip: SIP over UDP, TCP and TLS, also through Kamailio; RTP, SRTP, DTLS-SRTP, ICE, video."""

from __future__ import annotations

import math
import wave
from dataclasses import dataclass
from pathlib import Path

from lab.traffic.mode import Mode, Stage, Start
from lab.truth import CLEAR, TLS

__all__ = ["MODES", "sound"]

_MODULES = Path("/usr/lib/baresip/modules")
_CONFIG = """poll_method epoll
sip_listen {address}:{port}
sip_certificate {certificate}
sip_verify_server no
audio_path /usr/share/baresip
audio_player aufile,{folder}/heard.wav
audio_source aufile,{folder}/said.wav
audio_alert aufile,{folder}/alert.wav
audio_level no
video_source fakevideo,nil
video_display fakevideo,nil
video_size 160x120
video_fps 5
rtp_ports {low}-{high}
rtp_bandwidth 512-1024
rtcp_mux {mux}
jitter_buffer_delay 5-10
module_path /usr/lib/baresip/modules
{modules}
"""
_ALWAYS = ("g711.so", "aufile.so", "uuid.so")
_APPS = ("account.so", "contact.so", "menu.so")
_KAMAILIO = """log_stderror=yes
children=1
tcp_children=1
disable_tcp=no
auto_aliases=no
dns=no
rev_dns=no
enable_tls={tls}
listen=udp:{address}:{port}
listen=tcp:{address}:{port}
{listen_tls}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "siputils.so"
loadmodule "textops.so"
{load_tls}
request_route {{
  if (is_method("REGISTER")) {{ save("location"); exit; }}
  if (is_method("INVITE|SUBSCRIBE")) record_route();
  if (has_totag()) {{ loose_route(); t_relay(); exit; }}
  if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
  if (is_method("ACK")) {{ t_relay(); exit; }}
  if (!lookup("location")) {{ sl_send_reply("404", "Not Found"); exit; }}
  t_relay();
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """How two user agents talk."""

    transport: str = "udp"
    modules: tuple[str, ...] = ()
    account: str = ""
    """Further parameters of both accounts."""
    video: bool = False
    mux: bool = False
    proxy: bool = False
    ice: bool = False
    hidden: bool = False
    """Media begin with STUN or DTLS, so their flows may be named by these."""


def _agent(stage: Stage, call: _Call, name: str, address: str, *, account: str, low: int) -> Path:
    folder = stage.folder(f"baresip-{name}")
    modules = [*_ALWAYS, *call.modules, *(("avcodec.so", "fakevideo.so") if call.video else ())]
    lines = [f"module {one}" for one in modules] + [f"module_app {one}" for one in _APPS]
    (folder / "config").write_text(
        _CONFIG.format(
            address=address,
            port=low - 1,
            certificate=stage.certificate,
            folder=folder,
            low=low,
            high=low + 30,
            mux="yes" if call.mux else "no",
            modules="\n".join(lines),
        )
    )
    (folder / "accounts").write_text(account + "\n")
    (folder / "contacts").write_text("")
    sound(folder / "said.wav")
    return folder


def sound(file: Path) -> None:
    """Half a minute of a tone that goes up and down, as calls have it: 8 kHz."""
    with wave.open(str(file), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        steps = (round(9000 * math.sin(place * (0.3 + 0.1 * math.sin(place / 4000)))) for place in range(240_000))
        sound.writeframes(b"".join(step.to_bytes(2, "little", signed=True) for step in steps))


def _call(call: _Call) -> Start:
    def start(stage: Stage) -> None:
        low, _ = stage.ports.range()
        left_low, right_low = low + 1, low + 51
        transport = f";transport={call.transport}"
        more = call.account + ("" if call.video else ";video_codecs=")
        sip = "tcp" if call.transport != "udp" else "udp"
        over = TLS if call.transport == "tls" else CLEAR
        end = right_low - 1 + (call.transport == "tls")  # baresip's port for TLS is the next one
        if call.proxy:
            port = _proxy(stage, call)
            stage.expect("sip", sip, port, over=over)
            place = f"<sip:{{name}}@{stage.right}:{port}{transport}>;regint=60"
            to = f"sip:bob@{stage.right}:{port}{transport}"
        else:
            stage.expect("sip", sip, (right_low - 1, right_low), over=over)
            place = "<sip:{name}@{address}" + transport + ">;regint=0"
            to = f"sip:bob@{stage.right}:{end}{transport}"
        keyed = frozenset({None, "dtls"}) if call.hidden else CLEAR
        for base in (left_low, right_low):
            stage.expect("rtp", "udp", (base + 1, base + 30), over=keyed, checked=call.ice)
        if call.proxy:  # the user agents' own ports, where the proxy sends calls
            for base in (left_low, right_low):
                stage.expect("sip", sip, (base - 1, base), over=over)
        answers = place.format(name="bob", address=stage.right) + f";answermode=auto{more}"
        folder = _agent(stage, call, "bob", stage.right, account=answers, low=right_low)
        stage.serve("baresip", "-f", folder, "-4", name="baresip-bob")
        if not call.proxy:
            stage.awaited.add((sip, end))
        calls = place.format(name="alice", address=stage.left) + more
        folder = _agent(stage, call, "alice", stage.left, account=calls, low=left_low)
        seconds = str(int(stage.seconds) + 1)
        stage.client("baresip", "-4", "-f", folder, "-e", f"/dial {to}", "-t", seconds, after_s=1.5 * call.proxy)

    return start


def _proxy(stage: Stage, call: _Call) -> int:
    folder, port = stage.folder("kamailio"), stage.ports.one()
    tls = call.transport == "tls"
    name = stage.certificate
    (folder / "tls.cfg").write_text(
        f"[server:default]\nmethod = TLSv1.2+\nprivate_key = {name}\ncertificate = {name}\nverify_certificate = no\n"
        f"[client:default]\nmethod = TLSv1.2+\nverify_certificate = no\n"
    )
    load = f'loadmodule "tls.so"\nmodparam("tls", "config", "{folder}/tls.cfg")' if tls else ""
    (folder / "kamailio.cfg").write_text(
        _KAMAILIO.format(
            tls="yes" if tls else "no",
            address=stage.right,
            port=port,
            listen_tls=f"listen=tls:{stage.right}:{port + 1}" if tls else "",
            load_tls=load,
        )
    )
    words = ["kamailio", "-DD", "-E", "-m", "32", "-M", "8", "-Y", folder, "-f", folder / "kamailio.cfg"]
    port = port + 1 if tls else port
    stage.serve(*words, name="kamailio", tcp=port)
    return port


_BARESIP = ("baresip-core",)
_PROXY = ("baresip-core", "kamailio", "kamailio-tls-modules")
_SRTP = _Call(modules=("srtp.so",), account=";mediaenc=srtp-mand")
_ICE = _Call(modules=("ice.so", "stun.so"), account=";medianat=ice", ice=True, hidden=True, mux=True)
_DTLS = _Call(modules=("dtls_srtp.so", "srtp.so"), account=";mediaenc=dtls_srtp", hidden=True, mux=True)

MODES: tuple[Mode, ...] = (
    Mode(program="baresip", mode="UDP", start=_call(_Call()), packages=_BARESIP, quick=True),
    Mode(program="baresip", mode="TCP", start=_call(_Call(transport="tcp")), packages=_BARESIP),
    Mode(program="baresip", mode="TLS", start=_call(_Call(transport="tls")), packages=_BARESIP),
    Mode(program="baresip", mode="SRTP", start=_call(_SRTP), packages=_BARESIP),
    Mode(program="baresip", mode="DTLS-SRTP", start=_call(_DTLS), packages=_BARESIP),
    Mode(program="baresip", mode="ICE", start=_call(_ICE), packages=_BARESIP),
    Mode(program="baresip", mode="RTCP in RTP's port", start=_call(_Call(mux=True)), packages=_BARESIP),
    Mode(
        program="baresip",
        mode="video",
        start=_call(_Call(video=True)),
        packages=(*_BARESIP, "baresip-ffmpeg"),
    ),
    Mode(program="kamailio", mode="UDP", start=_call(_Call(proxy=True)), packages=_PROXY, quick=True),
    Mode(program="kamailio", mode="TCP", start=_call(_Call(proxy=True, transport="tcp")), packages=_PROXY),
    Mode(program="kamailio", mode="TLS", start=_call(_Call(proxy=True, transport="tls")), packages=_PROXY),
)
