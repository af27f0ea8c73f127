"""Daemons that the other families had no place for: file servers, filters, players, exporters, bridges."""

from __future__ import annotations

from lab.catalogue.plain import plain
from lab.truth import TLS

__all__ = ["PROGRAMS"]

_MPD = """bind_to_address "0.0.0.0"
port "{port}"
db_file "{folder}/db"
music_directory "{files}"
audio_output {
  type "null"
  name "none"
}
"""
_MONIT = "set daemon 30\nset httpd port {port} and use address 0.0.0.0\n allow 0.0.0.0/0.0.0.0\n"
_CLAMD = "TCPSocket {port}\nTCPAddr 0.0.0.0\nDatabaseDirectory {folder}\nForeground yes\nUser root\n"
_RSPAMD = """options { pidfile = "{folder}/pid"; tempdir = "{folder}"; }
logging { type = "console"; }
worker "controller" { bind_socket = "0.0.0.0:{port}"; count = 1; }
"""
_ZNC = """Version = 1.8.2
<Listener l>
  Port = {port}
  IPv4 = true
  IPv6 = false
  SSL = false
</Listener>
<User lab>
  Pass = plain#x
  Admin = true
</User>
"""
_MAIL = "server 0.0.0.0:{port} {\n};\npidfile {folder}/pid;\nmode daemon;\n"
_MOTION = "webcontrol_port {port}\nwebcontrol_localhost off\ntarget_dir {folder}\nvideodevice /dev/null\n"
_OVSDB = """ovsdb-tool create {folder}/db /usr/share/openvswitch/vswitch.ovsschema
exec ovsdb-server --remote=ptcp:{port}:0.0.0.0 --unixctl={folder}/control --no-chdir {folder}/db
"""

PROGRAMS = (
    plain("rclone-http", "http", "rclone serve http {files} --addr 0.0.0.0:{port}", product="rclone",
        packages=("rclone",)),
    plain("rclone-https", "http", "rclone serve http {files} --addr 0.0.0.0:{port} --cert {pem} --key {pem}",
        product="rclone", packages=("rclone",), over=TLS),
    plain("rclone-webdav", "http", "rclone serve webdav {files} --addr 0.0.0.0:{port}", packages=("rclone",)),
    plain("rclone-sftp", "ssh", "rclone serve sftp {files} --addr 0.0.0.0:{port} --no-auth",
        client=b"SSH-2.0-lab\r\n", packages=("rclone",)),
    plain("apt-cacher-ng", "http",
        "apt-cacher-ng ForeGround=1 Port={port} BindAddress=0.0.0.0 CacheDir={folder} LogDir={folder}",
        packages=("apt-cacher-ng",)),
    plain("debuginfod", "http", "debuginfod -p {port} -d {folder}/db -F {files}", packages=("debuginfod",)),
    plain("monit", "http", "monit -I -c {folder}/rc", product="monit", packages=("monit",), files={"rc": _MONIT}),
    plain("victoria-metrics", "http", "victoria-metrics -httpListenAddr 0.0.0.0:{port} -storageDataPath {folder}",
        packages=("victoria-metrics",)),
    plain("blackbox-exporter", "http",
        "prometheus-blackbox-exporter --web.listen-address=0.0.0.0:{port} --config.file=/etc/prometheus/blackbox.yml",
        packages=("prometheus-blackbox-exporter",), program="prometheus-blackbox-exporter"),
    plain("snmp-exporter", "http", "prometheus-snmp-exporter --web.listen-address=0.0.0.0:{port}",
        packages=("prometheus-snmp-exporter",), program="prometheus-snmp-exporter"),
    plain("rspamd", "http", "rspamd -f -u _rspamd -g _rspamd -c {folder}/conf", product="rspamd", packages=("rspamd",),
        user="_rspamd", files={"conf": _RSPAMD}),
    plain("clamd", "clamav", "clamd -F -c {folder}/conf", client=b"zVERSION\x00", product="ClamAV",
        packages=("clamav-daemon",),
        files={"conf": _CLAMD, "x.hdb": "44d88612fea8a8f36de82e1278abb02f:68:Eicar-Test\n"}, program="clamd"),
    plain("mpd", "mpd", "mpd --no-daemon {folder}/conf", client=b"ping\n", product="Music Player Daemon",
        packages=("mpd",), files={"conf": _MPD}),
    plain("snapserver", "snapcast",
        "snapserver --server.user root --server.datadir={folder} --tcp.port={port} --tcp.bind_to_address=0.0.0.0 "
        "--stream.port=0 --http.enabled=false --stream.source=pipe://{folder}/sound?name=x",
        client=b'{"id":1,"jsonrpc":"2.0","method":"Server.GetRPCVersion"}\r\n', product="Snapserver",
        packages=("snapserver",)),
    plain("znc", "http", "runuser -u nobody -- znc -f -d {folder}", product="ZNC", packages=("znc",), user="nobody",
        files={"configs/znc.conf": _ZNC}, program="znc"),
    plain("vlc-telnet", "telnet",
        "runuser -u nobody -- env HOME={folder} cvlc --intf telnet --telnet-host 0.0.0.0 --telnet-port {port} "
        "--telnet-password x --no-audio",
        client=b"", product="VLC media player", packages=("vlc-bin", "vlc-plugin-base"), user="nobody", program="cvlc"),
    plain("bitlbee", "irc", "bitlbee -n -F -i 0.0.0.0 -p {port} -c /dev/null -d {folder} -P {folder}/pid",
        client=b"NICK lab\r\nUSER lab 0 * :lab\r\n", packages=("bitlbee",)),
    plain("nbdkit", "nbd", "nbdkit -f -i 0.0.0.0 -p {port} memory 1M", client=b"", packages=("nbdkit",)),
    plain("mailutils-imap4d", "imap", "imap4d --foreground --no-config --config-file {folder}/conf",
        client=b"a CAPABILITY\r\n", packages=("mailutils-imap4d",), files={"conf": _MAIL}, program="imap4d"),
    plain("mailutils-pop3d", "pop3", "pop3d --foreground --no-config --config-file {folder}/conf",
        client=b"CAPA\r\n", packages=("mailutils-pop3d",), files={"conf": _MAIL}, program="pop3d"),
    plain("ziproxy", "http", "ziproxy --config-file={folder}/conf -d -u root -g root", product="ziproxy",
        packages=("ziproxy",), files={"conf": 'Port = {port}\nAddress = "0.0.0.0"\n'}),
    plain("asyncio-socks-server", "socks", "{venv}/asyncio_socks_server -H 0.0.0.0 -P {port}",
        client=("curl", "-sS", "-m", "3", "--socks5", "{host}:{port}", "http://127.0.0.1:1/"),
        pip=("asyncio-socks-server",)),
    plain("mysql-mimic", "mysql",
        ("{python}", "-c", "\n".join((
            "import asyncio", "from mysql_mimic import MysqlServer",
            "asyncio.run(MysqlServer().serve_forever(host='0.0.0.0', port={port}))"))),
        client=b"", product="MySQL", pip=("mysql-mimic",)),
    plain("fakeredis", "redis",
        ("{python}", "-c", "import fakeredis; fakeredis.TcpFakeServer(('0.0.0.0', {port})).serve_forever()"),
        client=b"PING\r\n", pip=("fakeredis",)),
    plain("pyro", "pyro", "{python} -m Pyro5.nameserver -n 0.0.0.0 -p {port} -x", client=b"PYRO\x01\xf6",
        product="Pyro", pip=("Pyro5",)),
    plain("dask-scheduler", "dask", "{venv}/dask scheduler --host 0.0.0.0 --port {port} --no-dashboard", client=b"",
        product="Dask distributed", pip=("distributed",)),
    plain("ldaptor", "ldap",
        ("{python}", "-c", "\n".join((
            "from twisted.internet import protocol, reactor",
            "from ldaptor.protocols.ldap.ldapserver import LDAPServer",
            "factory = protocol.ServerFactory()", "factory.protocol = LDAPServer",
            "reactor.listenTCP({port}, factory)", "reactor.run()"))),
        client=b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00", pip=("ldaptor",)),
    plain("impacket-smb", "smb", "{python} {venv}/smbserver.py -smb2support -ip 0.0.0.0 -port {port} x {files}",
        client=("true",), pip=("impacket",)),
    plain("omninames", "giop", "omniNames -start {port} -datadir {folder} -ORBendPoint giop:tcp:0.0.0.0:{port}",
        client=b"GIOP\x01\x00\x00\x03\x00\x00\x00\x0cFLOW\x00\x00\x00\x04INIT", packages=("omniorb-nameserver",),
        program="omniNames"),
    plain("ovsdb-server", "ovsdb",
        ("sh", "-c", _OVSDB),
        client=b'{"id":"lab","method":"list_dbs","params":[]}', product="Open vSwitch ovsdb-server",
        packages=("openvswitch-common", "openvswitch-switch"), program="ovsdb-server"),
    plain("cntlm", "http", "cntlm -f -l 0.0.0.0:{port} -g -u a@b -p x 127.0.0.1:1", packages=("cntlm",)),
    plain("motion", "http", "motion -n -c {folder}/conf", packages=("motion",),
        files={"conf": _MOTION}),
    plain("netdata", "http", "netdata -D -i 0.0.0.0 -p {port} -u root", product="Netdata Embedded HTTP Server",
        packages=("netdata",)),
    plain("aioquic", "http",
        "{python} -m lab.peers.h3_server {port} {pem}", client=("true",), transport="udp", pip=("aioquic",),
        over=frozenset({"quic"})),
)  # fmt: skip
