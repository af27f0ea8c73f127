"""Monitoring agents and servers, printing and power among them."""

from __future__ import annotations

import shutil

from lab.catalogue.endpoints import endpoint, says
from lab.catalogue.entry import Entry, version_of
from lab.services.base import Site

__all__ = ["PROGRAMS"]

_ZABBIX = """PidFile={folder}/pid
LogType=console
AllowRoot=1
Server=0.0.0.0/0,::/0
ListenPort={port}
Hostname=lab
"""
_NRPE = """server_port={port}
allowed_hosts=0.0.0.0/1,128.0.0.0/1,::/0
nrpe_user=nagios
nrpe_group=nagios
pid_file={folder}/pid
"""
_MUNIN = """log_file {folder}/log
pid_file {folder}/pid
background 0
setsid 0
user root
group root
host *
port {port}
cidr_allow 0.0.0.0/0
cidr_allow ::/0
"""
_GANGLIA = """globals {{ daemonize = no setuid = no deaf = no mute = no }}
cluster {{ name = "lab" }}
udp_recv_channel {{ port = {port} }}
udp_send_channel {{ host = 127.0.0.1 port = {port} }}
tcp_accept_channel {{ port = {port} }}
modules {{ module {{ name = "core_metrics" }} }}
collection_group {{ collect_once = yes time_threshold = 20 metric {{ name = "heartbeat" }} }}
"""
_CUPS = """ServerRoot {folder}
CacheDir {folder}
StateDir {folder}
RequestRoot {folder}
AccessLog stderr
ErrorLog stderr
"""
_CURL = ("curl", "-sS", "http://{host}:{port}/metrics")


def _zabbix(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("zabbix", owner="zabbix")
    path = folder / "agent.conf"
    path.write_text(_ZABBIX.format(folder=folder, port=port))
    site.run("zabbix_agentd", "-f", "-c", path)
    version = version_of(["zabbix_agentd", "-V"], r"\(Zabbix\) ([0-9.]+)")
    client = says(b"ZBXD\x01\x0a" + bytes(7) + b"agent.ping")
    endpoint(site, "zabbix-agent", "zabbix", port, client, product="Zabbix agent", version=version)


def _nrpe(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("nrpe", owner="nagios")
    path = folder / "nrpe.cfg"
    path.write_text(_NRPE.format(folder=folder, port=port))
    site.run("nrpe", "-n", "-c", path, "-f")
    version = version_of(["nrpe", "-h"], r"Version: ([0-9.]+)")
    client = ("/usr/lib/nagios/plugins/check_nrpe", "-n", "-2", "-H", "{address}", "-p", "{port}")
    endpoint(site, "nrpe", "nrpe", port, client, product="NRPE", version=version)


def _munin(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("munin")
    path = folder / "munin.conf"
    path.write_text(_MUNIN.format(folder=folder, port=port))
    site.run("munin-node", "--config", path)
    version = version_of(["dpkg-query", "-W", "-f", "${Version}", "munin-node"], r"([0-9]+\.[0-9]+\.[0-9]+)")
    client = says(b"list\n")
    endpoint(site, "munin-node", "munin", port, client, product="Munin node", version=version, families=(4,))


def _ganglia(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("ganglia")
    path = folder / "gmond.conf"
    path.write_text(_GANGLIA.format(port=port))
    site.run("gmond", "-c", path, "-f")
    version = version_of(["gmond", "--version"])
    endpoint(site, "gmond", "ganglia", port, says(b""), product="Ganglia gmond", version=version, families=(4,))


def _nut(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("nut")
    files = {"ups.conf": "[dummy]\ndriver=dummy-ups\nport=x\n", "upsd.conf": f"LISTEN 0.0.0.0 {port}\n"}
    for name, text in {**files, "upsd.users": "", "nut.conf": "MODE=standalone\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o640)
    site.run(
        "env", f"NUT_CONFPATH={folder}", f"NUT_STATEPATH={folder}", "/lib/nut/upsd", "-u", "root", "-D", name="upsd"
    )
    version = version_of(["/lib/nut/upsd", "-V"], r"upsd ([0-9.]+)")
    client = ("upsc", "-l", "{host}:{port}")
    endpoint(site, "upsd", "nut", port, client, product="Network UPS Tools", version=version, families=(4,))


def _prometheus(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("prometheus")
    path = folder / "prometheus.yml"
    path.write_text("scrape_configs: []\n")
    where = [f"--storage.tsdb.path={folder}", f"--web.listen-address=:{port}"]
    site.run("prometheus", f"--config.file={path}", *where)
    version = version_of(["prometheus", "--version"], r"version ([0-9.]+)")
    endpoint(site, "prometheus", "prometheus", port, _CURL, product="Prometheus", version=version)


def _node_exporter(site: Site) -> None:
    port = site.ports.one()
    site.run("prometheus-node-exporter", f"--web.listen-address=:{port}")
    endpoint(site, "node-exporter", "http", port, _CURL, product="Prometheus node exporter")


def _alertmanager(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("alertmanager")
    path = folder / "alertmanager.yml"
    path.write_text("route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n")
    where = [f"--storage.path={folder}", f"--web.listen-address=:{port}", "--cluster.listen-address="]
    site.run("prometheus-alertmanager", f"--config.file={path}", *where)
    endpoint(site, "alertmanager", "http", port, _CURL, product="Prometheus Alertmanager")


def _pushgateway(site: Site) -> None:
    port = site.ports.one()
    site.run("prometheus-pushgateway", f"--web.listen-address=:{port}")
    endpoint(site, "pushgateway", "http", port, _CURL, product="Prometheus Pushgateway")


def _cups(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("cups")
    (folder / "cupsd.conf").write_text(f"Port {port}\n")
    (folder / "cups-files.conf").write_text(_CUPS.format(folder=folder))
    site.run("cupsd", "-f", "-c", folder / "cupsd.conf", "-s", folder / "cups-files.conf")
    version = version_of(["dpkg-query", "-W", "-f", "${Version}", "cups-daemon"], r"([0-9]+\.[0-9]+\.[0-9]+)")
    client = ("curl", "-sS", "http://{host}:{port}/")
    endpoint(site, "cups", "ipp", port, client, product="CUPS", version=version)


def _nsca(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("nsca", owner="nagios")
    path = folder / "nsca.cfg"
    who = "nsca_user=nagios\nnsca_group=nogroup\npassword=x\ndecryption_method=1\nmax_packet_age=30\n"
    files = f"pid_file={folder}/pid\ncommand_file={folder}/c\nalternate_dump_file={folder}/d\n"
    path.write_text(f"server_port={port}\n{who}{files}")
    shutil.chown(path, "nagios")
    site.run("nsca", "-c", path, "--single", "-f")
    endpoint(site, "nsca", "nsca", port, says(b"\x00"), families=(4,))


PROGRAMS = (
    Entry(name="zabbix-agent", start=_zabbix, packages=("zabbix-agent",), program="zabbix_agentd"),
    Entry(name="nrpe", start=_nrpe, packages=("nagios-nrpe-server", "nagios-nrpe-plugin")),
    Entry(name="munin-node", start=_munin, packages=("munin-node",)),
    Entry(name="gmond", start=_ganglia, packages=("ganglia-monitor",)),
    Entry(name="upsd", start=_nut, packages=("nut-server", "nut-client"), program="/lib/nut/upsd"),
    Entry(name="prometheus", start=_prometheus, packages=("prometheus",)),
    Entry(
        name="node-exporter",
        start=_node_exporter,
        packages=("prometheus-node-exporter",),
        program="prometheus-node-exporter",
    ),
    Entry(
        name="alertmanager",
        start=_alertmanager,
        packages=("prometheus-alertmanager",),
        program="prometheus-alertmanager",
    ),
    Entry(
        name="pushgateway", start=_pushgateway, packages=("prometheus-pushgateway",), program="prometheus-pushgateway"
    ),
    Entry(name="cups", start=_cups, packages=("cups-daemon",), program="cupsd"),
    Entry(name="nsca", start=_nsca, packages=("nsca",)),
)
