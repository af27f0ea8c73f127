"""Tunnels: OpenVPN, WireGuard, strongSwan, L2TP, PPTP, tinc, OpenConnect, SSH, stunnel; and some that nobody knows."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.traffic.mode import Mode, Stage, Start
from lab.truth import EITHER, TLS

__all__ = ["MODES"]

_BIG = 32 << 20
"""What is fetched through a tunnel, at a rate that makes it last: programs and kernels on the way hold 10 MB or so, and
less would have passed before the tunnel is picked up in the middle."""
_PING = "ping -q -i 0.1 -s 200 -w {seconds} {address} >/dev/null"


def _keys(folder: Path) -> list[str]:
    """A certificate that is its own authority, for both sides."""
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=vpn.lab.example"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*words, *files], check=True, capture_output=True)
    certificate = str(folder / "cert.pem")
    return ["--ca", certificate, "--cert", certificate, "--key", str(folder / "key.pem"), "--verb", "3"]


def _openvpn(*, tcp: bool = False, wrap: str = "", direction: bool = False) -> Start:
    def start(stage: Stage) -> None:
        folder, port = stage.folder("openvpn"), stage.ports.one()
        keys = _keys(folder)
        number = stage.right.rsplit(".", 1)[1]
        ends = f"10.79.{number}.1", f"10.79.{number}.2"
        wraps = []
        for side in (0, 1):
            words: list[str] = []
            if wrap == "tls-crypt-v2":
                words = ["--tls-crypt-v2", str(folder / f"v2-{side}.key")]
            elif wrap:
                words = [f"--{wrap}", str(folder / "ta.key"), *([str(side)] if direction else [])]
            wraps.append(words)
        _secrets(folder, wrap)
        proto = ("tcp-server", "tcp-client") if tcp else ("udp", "udp")
        tunnel = ["--dev", f"tv{number}", "--dev-type", "tun", "--ping", "5"]
        server = [*tunnel, "--proto", proto[0], "--port", str(port), "--local", stage.right, "--tls-server"]
        server += ["--ifconfig", *ends, "--dh", "none", *keys, *wraps[0]]
        stage.serve("openvpn", *server, name="openvpn", **{"tcp" if tcp else "udp": port})
        client = [*tunnel, "--proto", proto[1], "--nobind", "--remote", stage.right, str(port), "--tls-client"]
        client += ["--ifconfig", *reversed(ends), *keys, *wraps[1]]
        stage.client("openvpn", *client, lasts=True)
        stage.client("sh", "-c", "sleep 2; " + _PING.format(seconds=int(stage.seconds), address=ends[0]), lasts=True)
        stage.expect("openvpn", "tcp" if tcp else "udp", port)

    return start


def _secrets(folder: Path, wrap: str) -> None:
    def make(*words: str) -> None:
        subprocess.run(["/usr/sbin/openvpn", *words], check=True, capture_output=True)

    if wrap == "tls-crypt-v2":
        make("--genkey", "tls-crypt-v2-server", str(folder / "v2-0.key"))
        server = ["--tls-crypt-v2", str(folder / "v2-0.key")]
        make(*server, "--genkey", "tls-crypt-v2-client", str(folder / "v2-1.key"))
    elif wrap:
        make("--genkey", "secret", str(folder / "ta.key"))


def _wireguard(stage: Stage) -> None:
    folder, port = stage.folder("wireguard"), stage.ports.one()
    number = stage.right.rsplit(".", 1)[1]
    keys = []
    for _ in range(2):
        private = subprocess.run(["wg", "genkey"], check=True, capture_output=True, text=True).stdout
        public = subprocess.run(["wg", "pubkey"], input=private, check=True, capture_output=True, text=True).stdout
        keys.append((private.strip(), public.strip()))
    for side, other, end in ((0, 1, ""), (1, 0, f"Endpoint = {stage.right}:{port}\n")):
        own = f"[Interface]\nPrivateKey = {keys[side][0]}\n" + ("" if side else f"ListenPort = {port}\n")
        peer = f"[Peer]\nPublicKey = {keys[other][1]}\nAllowedIPs = 0.0.0.0/0\n{end}"
        (folder / f"{side}.conf").write_text(own + peer)

    def side(name: str, place: int) -> str:
        own = f"10.79.{number}.{place + 1}"
        setup = f"wg setconf {name} {folder}/{place}.conf && ip addr add {own}/24 dev {name} && ip link set {name} up"
        return f"wireguard-go -f {name} & sleep 1; {setup}"

    quiet = {"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error"}
    stage.serve("sh", "-c", side(f"ws{number}", 0) + "; wait", name="wireguard", udp=port)
    ping = _PING.format(seconds=int(stage.seconds), address=f"10.79.{number}.1")
    stage.client("sh", "-c", f"{side(f'wc{number}', 1)}; {ping}; kill %1; wait", lasts=True, **quiet)
    stage.expect("wireguard", "udp", port)


_CHARON = """charon {{
  port = {ike}
  port_nat_t = {nat}
  load_modular = yes
  filelog {{ stderr {{ default = 1 }} }}
  plugins {{ include /etc/strongswan.d/charon/*.conf
    kernel-libipsec {{ load = yes }} socket-default {{ load = yes }} resolve {{ load = no }} dhcp {{ load = no }}
    farp {{ load = no }} }}
}}
"""
_SWANCTL = """connections {{
 lab {{
  version = {version}
  encap = yes
  local_addrs = {own}
  remote_addrs = {other}
  local {{
   auth = psk
   id = {own}
  }}
  remote {{
   auth = psk
   id = {other}
  }}
  children {{
   lab {{
    local_ts = {own_net}
    remote_ts = {other_net}
    esp_proposals = aes128-sha256
   }}
  }}
 }}
}}
secrets {{
 ike-lab {{
  secret = "laboratory"
 }}
}}
"""


def _ike(version: int) -> Start:
    """Key exchange and ESP in UDP, for the user-space tunnel needs no kernel's help."""

    def start(stage: Stage) -> None:
        number = stage.right.rsplit(".", 1)[1]
        nets = f"10.79.{number}.1", f"10.80.{number}.1"
        for side, own, other in ((0, stage.right, stage.left), (1, stage.left, stage.right)):
            folder = stage.folder(f"swan-{side}")
            (folder / "strongswan.conf").write_text(_CHARON.format(ike=500, nat=4500))
            (folder / "swanctl.conf").write_text(
                _SWANCTL.format(
                    version=version,
                    own=own,
                    other=other,
                    own_net=f"{nets[side]}/32",
                    other_net=f"{nets[1 - side]}/32",
                )
            )
            # Both charons write to /run: each gets one of its own.
            script = (
                f"mount -t tmpfs lab /run; ip addr add {nets[side]}/32 dev lo;"
                f" STRONGSWAN_CONF={folder}/strongswan.conf /usr/lib/ipsec/charon & sleep 1.5;"
                f" swanctl --load-all --noprompt --file {folder}/swanctl.conf;"
            )
            if side == 0:
                stage.serve("unshare", "-m", "sh", "-c", script + " wait", name="charon", udp=4500)
            else:
                ping = f"ping -q -i 0.1 -s 200 -I {nets[1]} -w {int(stage.seconds)} {nets[0]}"
                script += f" swanctl --initiate --child lab --timeout 4; {ping}; wait"
                stage.client("unshare", "-m", "sh", "-c", script, lasts=True)
        stage.expect("ike", "udp", 500, also=("ipsec",))
        stage.expect("ipsec", "udp", 4500, also=("ike",))

    return start


def _l2tp(stage: Stage) -> None:
    server, client = stage.folder("lns"), stage.folder("lac")
    port = 1701
    (server / "conf").write_text(
        f"[global]\nport = {port}\nlisten-addr = {stage.right}\n[lns default]\nip range = 10.99.9.2-10.99.9.9\n"
        f"local ip = 10.99.9.1\npppoptfile = {server}/options\n"
    )
    (client / "conf").write_text(
        f"[global]\nport = {port}\nlisten-addr = {stage.left}\n[lac lab]\nlns = {stage.right}\nautodial = yes\n"
        f"redial = yes\nredial timeout = 1\nmax redials = 9\npppoptfile = {client}/options\n"
    )
    for folder in (server, client):
        (folder / "options").write_text("noauth\n")
    for begin, folder in ((stage.serve, server), (stage.client, client)):
        words = ["xl2tpd", "-D", "-c", folder / "conf", "-p", folder / "pid", "-C", folder / "control"]
        begin(*words, **({"udp": port, "name": "xl2tpd"} if begin == stage.serve else {"lasts": True}))
    stage.expect("l2tp", "udp", port)


def _pptp(stage: Stage) -> None:
    folder = stage.folder("pptpd")
    (folder / "pppd").write_text("#!/bin/sh\nexec cat\n")  # this kernel has no PPP: what comes goes back
    (folder / "pppd").chmod(0o755)
    (folder / "conf").write_text(f"ppp {folder}/pppd\nlocalip 10.99.8.1\nremoteip 10.99.8.2-9\n")
    stage.serve("pptpd", "-f", "-c", folder / "conf", "-l", stage.right, "-p", folder / "pid", name="pptpd", tcp=1723)
    # Nobody speaks PPP through it: a call that is set up, and the connection that controls it.
    call = f"sleep 3600 | pptp {stage.right} --nolaunchpppd --localbind {stage.left}"
    stage.client("sh", "-c", call, lasts=True)
    stage.expect("pptp", "tcp", 1723)


def _tinc(stage: Stage) -> None:
    port = stage.ports.one()
    names = "right", "left"
    number = stage.right.rsplit(".", 1)[1]
    folders = [stage.folder(f"tinc-{name}") for name in names]
    for side, (name, folder) in enumerate(zip(names, folders, strict=True)):
        (folder / "hosts").mkdir(exist_ok=True)
        connect = "ConnectTo = right\n" if side else f"BindToAddress = {stage.right} {port}\n"
        (folder / "tinc.conf").write_text(f"Name = {name}\nDeviceType = tun\nInterface = tc{number}\n{connect}")
        (folder / "tinc-up").write_text(
            f"#!/bin/sh\nip addr add 10.79.{number}.{side + 1}/24 dev $INTERFACE\nip link set $INTERFACE up\n"
        )
        (folder / "tinc-up").chmod(0o755)
        subprocess.run(["/usr/sbin/tincd", "-c", str(folder), "-K2048"], input=b"\n\n", check=True, capture_output=True)
        where = f"Address = {stage.right} {port}\n" if not side else ""
        public = next(folder.glob("*.pub"), None)
        text = public.read_text() if public else (folder / "hosts" / name).read_text()
        for other in folders:
            (other / "hosts").mkdir(exist_ok=True)
            (other / "hosts" / name).write_text(f"{where}Subnet = 10.79.{number}.{side + 1}/32\nPort = {port}\n{text}")
    stage.serve("tincd", "-D", "-c", folders[0], "--pidfile", folders[0] / "pid", name="tinc", tcp=port)
    stage.client("tincd", "-D", "-c", folders[1], "--pidfile", folders[1] / "pid", lasts=True)
    ping = "sleep 2; " + _PING.format(seconds=int(stage.seconds), address=f"10.79.{number}.1")
    stage.client("sh", "-c", ping, lasts=True)
    stage.expect("tinc", "tcp", port)
    stage.expect("tinc", "udp", port)


def _openconnect(stage: Stage) -> None:
    folder, port = stage.folder("ocserv"), stage.ports.one()
    number = stage.right.rsplit(".", 1)[1]
    subprocess.run(
        ["/usr/bin/ocpasswd", "-c", str(folder / "users"), "lab"], input=b"lab\nlab\n", check=True, capture_output=True
    )
    (folder / "conf").write_text(
        f'auth = "plain[passwd={folder}/users]"\ntcp-port = {port}\nudp-port = {port}\nlisten-host = {stage.right}\n'
        f"run-as-user = root\nrun-as-group = root\nsocket-file = {folder}/socket\nserver-cert = {stage.certificate}\n"
        f"server-key = {stage.certificate}\nisolate-workers = false\nmax-clients = 4\ndevice = oc{number}\n"
        f"ipv4-network = 10.79.{number}.0/24\ndpd = 5\nkeepalive = 5\ntry-mtu-discovery = false\nauth-timeout = 40\n"
    )
    stage.serve("ocserv", "-f", "-c", folder / "conf", "-p", folder / "pid", name="ocserv", tcp=port)
    (folder / "script").write_text(
        f'#!/bin/sh\n[ "$reason" = connect ] && ip link set $TUNDEV up'
        f" && ip addr add $INTERNAL_IP4_ADDRESS/32 dev $TUNDEV && ip route add 10.79.{number}.0/24 dev $TUNDEV\n"
    )
    (folder / "script").chmod(0o755)
    words = f"openconnect -u lab --passwd-on-stdin --script {folder}/script -i oc{number}c"
    trust = "--servercert pin-sha256:" + _pin(stage.certificate)
    stage.client("sh", "-c", f"echo lab | {words} {trust} https://{stage.right}:{port}", lasts=True)
    ping = "sleep 3; " + _PING.format(seconds=int(stage.seconds), address=f"10.79.{number}.1")
    stage.client("sh", "-c", ping, lasts=True)
    stage.expect("http", "tcp", port, over=TLS)
    stage.expect("dtls", "udp", port)


def _pin(certificate: Path) -> str:
    script = f"openssl x509 -in {certificate} -pubkey -noout | openssl pkey -pubin -outform der |"
    script += " openssl dgst -sha256 -binary | openssl enc -base64"
    return subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout.strip()


def _stunnel(stage: Stage) -> None:
    port, inner, local = stage.ports.one(), stage.ports.one(), stage.ports.one()
    folder = stage.folder("stunnel")
    (folder / "big").write_bytes(bytes(_BIG))
    for name, text in (
        ("server", f"accept = {stage.right}:{port}\nconnect = 127.0.0.1:{inner}\ncert = {stage.certificate}\n"),
        ("client", f"client = yes\naccept = 127.0.0.1:{local}\nconnect = {stage.right}:{port}\n"),
    ):
        (folder / name).write_text(f"foreground = yes\npid =\n[lab]\n{text}")
    stage.serve("python3", "-m", "http.server", str(inner), "--bind", "127.0.0.1", "-d", folder, tcp=inner)
    stage.serve("stunnel4", folder / "server", name="stunnel", tcp=port)
    stage.client("stunnel4", folder / "client", lasts=True)
    rate = str(int(_BIG / (stage.seconds + 2)))
    fetch = f"sleep 1; curl -sS -o /dev/null --limit-rate {rate} http://127.0.0.1:{local}/big"
    stage.client("sh", "-c", fetch, lasts=True)
    stage.expect("http", "tcp", port, over=TLS)


def _ssh(stage: Stage) -> None:
    port, inner, local = stage.ports.one(), stage.ports.one(), stage.ports.one()
    folder = stage.folder("ssh")
    folder.chmod(0o700)
    for name in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True, capture_output=True)
    (folder / "big").write_bytes(bytes(_BIG))
    options = [f"ListenAddress={stage.right}", "UsePAM=no", f"AuthorizedKeysFile={folder}/user.pub", "StrictModes=no"]
    options += [f"PidFile={folder}/pid", "PermitRootLogin=yes"]
    words = ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", str(folder / "host"), "-p", str(port)]
    ready = f"mkdir -p /run/sshd && exec {' '.join(words)} {' '.join(f'-o {one}' for one in options)}"
    stage.serve("sh", "-c", ready, name="sshd", tcp=port)
    stage.serve("python3", "-m", "http.server", str(inner), "--bind", "127.0.0.1", "-d", folder, tcp=inner)
    trust = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes"
    way = f"ssh -N {trust} -i {folder}/user -p {port} -L {local}:127.0.0.1:{inner} root@{stage.right}"
    stage.client("sh", "-c", f"exec {way}", lasts=True)
    rate = str(int(_BIG / (stage.seconds + 2)))
    fetch = f"sleep 2; curl -sS -o /dev/null --limit-rate {rate} http://127.0.0.1:{local}/big"
    stage.client("sh", "-c", fetch, lasts=True)
    stage.expect("ssh", "tcp", port, over=EITHER)


def _n2n(stage: Stage) -> None:
    port = stage.ports.one()
    number = stage.right.rsplit(".", 1)[1]
    stage.serve("supernode", "-l", str(port), name="n2n", udp=port)
    edge = ["/usr/sbin/edge", "-c", "lab", "-k", "lab", "-l", f"{stage.right}:{port}", "-d", f"nn{number}"]
    stage.client(*edge, "-a", f"10.79.{number}.2", lasts=True)
    stage.expect("", "udp", port)


def _fastd(stage: Stage) -> None:
    port = stage.ports.one()
    number = stage.right.rsplit(".", 1)[1]
    keys = []
    for _ in range(2):
        said = subprocess.run(["fastd", "--generate-key"], check=True, capture_output=True, text=True)
        keys.append([line.split(": ")[1] for line in said.stdout.splitlines() if ": " in line])
    for side, begin in ((0, stage.serve), (1, stage.client)):
        folder = stage.folder(f"fastd-{side}")
        own = f"bind {stage.right}:{port};\n" if not side else ""
        remote = f"remote {stage.right} port {port};\n" if side else ""
        (folder / "conf").write_text(
            f'log level info;\nmode tun;\ninterface "fd{number}";\nmethod "salsa2012+umac";\n{own}'
            f'secret "{keys[side][0]}";\npeer "other" {{ key "{keys[1 - side][1]}"; {remote} }}\n'
            f'on up "ip addr add 10.79.{number}.{side + 1}/24 dev $INTERFACE; ip link set $INTERFACE up";\n'
        )
        more = {"udp": port, "name": "fastd"} if not side else {"lasts": True}
        begin("fastd", "-c", folder / "conf", **more)
    ping = "sleep 2; " + _PING.format(seconds=int(stage.seconds), address=f"10.79.{number}.1")
    stage.client("sh", "-c", ping, lasts=True)
    stage.expect("", "udp", port)


_OPENVPN = ("openvpn", "iputils-ping")
_SWAN = ("strongswan-charon", "strongswan-swanctl", "libcharon-extra-plugins", "iputils-ping")
MODES: tuple[Mode, ...] = (
    Mode(program="openvpn", mode="UDP", start=_openvpn(), packages=_OPENVPN, quick=True),
    Mode(program="openvpn", mode="UDP, tls-auth", start=_openvpn(wrap="tls-auth", direction=True), packages=_OPENVPN),
    Mode(program="openvpn", mode="UDP, tls-crypt", start=_openvpn(wrap="tls-crypt"), packages=_OPENVPN, quick=True),
    Mode(program="openvpn", mode="UDP, tls-crypt-v2", start=_openvpn(wrap="tls-crypt-v2"), packages=_OPENVPN),
    Mode(program="openvpn", mode="TCP", start=_openvpn(tcp=True), packages=_OPENVPN),
    Mode(
        program="openvpn",
        mode="TCP, tls-auth",
        start=_openvpn(tcp=True, wrap="tls-auth", direction=True),
        packages=_OPENVPN,
    ),
    Mode(program="openvpn", mode="TCP, tls-crypt", start=_openvpn(tcp=True, wrap="tls-crypt"), packages=_OPENVPN),
    Mode(
        program="wireguard-go",
        mode="",
        start=_wireguard,
        packages=("wireguard-go", "wireguard-tools", "iputils-ping"),
        quick=True,
    ),
    Mode(program="strongSwan", mode="IKEv2, ESP in UDP", start=_ike(2), packages=_SWAN, alone="ike"),
    Mode(program="strongSwan", mode="IKEv1, ESP in UDP", start=_ike(1), packages=_SWAN, alone="ike"),
    Mode(program="xl2tpd", mode="", start=_l2tp, packages=("xl2tpd",), middle=False, alone="l2tp"),
    Mode(
        program="pptpd",
        mode="",
        start=_pptp,
        packages=("pptpd", "pptp-linux"),
        middle=False,
    ),
    Mode(program="tinc", mode="", start=_tinc, packages=("tinc", "iputils-ping")),
    Mode(program="ocserv", mode="openconnect", start=_openconnect, packages=("ocserv", "openconnect", "iputils-ping")),
    Mode(program="stunnel", mode="HTTP inside", start=_stunnel, packages=("stunnel4", "curl")),
    Mode(program="openssh", mode="HTTP inside", start=_ssh, packages=("openssh-server", "openssh-client", "curl")),
    Mode(program="n2n", mode="no signature", start=_n2n, packages=("n2n",), middle=False),
    Mode(program="fastd", mode="no signature", start=_fastd, packages=("fastd", "iputils-ping")),
)
