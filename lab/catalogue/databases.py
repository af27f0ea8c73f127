"""Databases and caches."""

from __future__ import annotations

import shutil
import subprocess

from lab.catalogue.endpoints import endpoint, says
from lab.catalogue.entry import Entry, version_of
from lab.services.base import Site
from lab.truth import EITHER

__all__ = ["PROGRAMS"]

_POSTGRES = "/usr/lib/postgresql/15/bin"
_CLICKHOUSE = """<yandex><logger><level>warning</level><console>true</console></logger>
<http_port>{http}</http_port><tcp_port>{native}</tcp_port><listen_host>::</listen_host>
<path>{folder}/</path><tmp_path>{folder}/tmp/</tmp_path><users_config>/etc/clickhouse-server/users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>1000000</mark_cache_size></yandex>
"""
_INFLUX = """reporting-disabled = true
bind-address = "127.0.0.1:{control}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[http]
bind-address = ":{port}"
log-enabled = false
"""
_CONNECT = bytes.fromhex(
    "0000000100000013000000030000000100000000000000010000000"
    "0ffff800d00000001000000000000000500000002"
)  # fmt: skip


def _quietly(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=True, timeout=60)


def _mariadb(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("mariadb", owner="mysql")
    data, pem = folder / "data", folder / "certificate.pem"
    shutil.copy(site.certificate, pem)
    shutil.chown(pem, "mysql")
    _quietly("mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}", "--skip-test-db")
    tls = [f"--ssl-cert={pem}", f"--ssl-key={pem}"]
    where = [f"--port={port}", "--bind-address=*", f"--socket={data}/s", "--skip-log-bin", "--skip-grant-tables"]
    site.run("mariadbd", "--no-defaults", "--user=mysql", f"--datadir={data}", *where, *tls)
    version = version_of(["mariadbd", "--version"], r"Ver ([0-9.]+)-MariaDB")
    client = ("mariadb", "--no-defaults", "-h", "{address}", "-P", "{port}", "-u", "nobody", "-e", "select 1")
    endpoint(site, "mariadb", "mysql", port, client, over=EITHER, product="MariaDB", version=version)


def _postgresql(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("postgresql", owner="postgres")
    data = folder / "data"
    _quietly(
        "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", f"{_POSTGRES}/initdb", "-D", str(data)
    )
    pem = folder / "certificate.pem"
    shutil.copy(site.certificate, pem)
    shutil.chown(pem, "postgres")
    pem.chmod(0o600)
    tls = ["-c", "ssl=on", "-c", f"ssl_cert_file={pem}", "-c", f"ssl_key_file={pem}"]
    options = ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=*", *tls]
    site.run(
        *("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", f"{_POSTGRES}/postgres", "-D", data),
        *options,
        name="postgresql",
    )
    client = ("psql", "-h", "{address}", "-p", "{port}", "-U", "nobody", "-w", "-c", "select 1", "postgres")
    endpoint(site, "postgresql", "postgresql", port, client, over=EITHER, product="PostgreSQL")


def _memcached(site: Site) -> None:
    port = site.ports.one()
    site.run("memcached", "-u", "nobody", "-p", str(port), "-U", str(port), "-l", "0.0.0.0,::")
    version = version_of(["memcached", "-V"])
    endpoint(site, "memcached", "memcached", port, says(b"get key\r\n"), product="memcached", version=version)


def _firebird(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("firebird")
    site.run("firebird", "-p", str(port), "-el", folder, "-em", folder)
    endpoint(site, "firebird", "firebird", port, says(_CONNECT))


def _clickhouse(site: Site) -> None:
    native, http, folder = site.ports.one(), site.ports.one(), site.folder("clickhouse")
    path = folder / "config.xml"
    path.write_text(_CLICKHOUSE.format(http=http, native=native, folder=folder))
    site.run("clickhouse-server", f"--config-file={path}")
    client = ("clickhouse-client", "--host", "{address}", "--port", "{port}", "--query", "select 1")
    endpoint(site, "clickhouse", "clickhouse", native, client, product="ClickHouse")
    endpoint(site, "clickhouse-http", "http", http, ("curl", "-sS", "http://{host}:{port}/ping"))


def _tarantool(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("tarantool")
    site.run("tarantool", "-e", f"box.cfg{{listen='0.0.0.0:{port}', memtx_dir='{folder}', wal_mode='none'}}")
    version = version_of(["tarantool", "--version"], r"Tarantool ([0-9.]+)")
    endpoint(site, "tarantool", "tarantool", port, says(b"\x00"), product="Tarantool", version=version, families=(4,))


def _influxdb(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("influxdb")
    path = folder / "influxdb.conf"
    path.write_text(_INFLUX.format(port=port, control=site.ports.one(), folder=folder))
    site.run("influxd", "-config", path)
    version = version_of(["influxd", "version"], r"v([0-9][0-9A-Za-z.~]*)")
    client = ("curl", "-sS", "http://{host}:{port}/ping")
    endpoint(site, "influxdb", "influxdb", port, client, product="InfluxDB", version=version)


def _derby(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("derby")
    classes = "/usr/share/java/derbynet.jar:/usr/share/java/derby.jar:/usr/share/java/derbyshared.jar"
    server = ["org.apache.derby.drda.NetworkServerControl", "start", "-h", "0.0.0.0", "-p", str(port)]
    site.run("java", f"-Dderby.system.home={folder}", "-cp", classes, *server, "-noSecurityManager", name="derby")
    message = bytes.fromhex("0017d001000100111041000d115e8699a64081a29640a2")
    endpoint(site, "derby", "drda", port, says(message), product="Apache Derby")


PROGRAMS = (
    Entry(name="mariadb", start=_mariadb, packages=("mariadb-server", "mariadb-client"), program="mariadbd"),
    Entry(name="postgresql", start=_postgresql, packages=("postgresql",), program=f"{_POSTGRES}/postgres"),
    Entry(name="memcached", start=_memcached, packages=("memcached",)),
    Entry(name="firebird", start=_firebird, packages=("firebird3.0-server",)),
    Entry(
        name="clickhouse",
        start=_clickhouse,
        packages=("clickhouse-server", "clickhouse-client"),
        program="clickhouse-server",
    ),
    Entry(name="tarantool", start=_tarantool, packages=("tarantool",)),
    Entry(name="influxdb", start=_influxdb, packages=("influxdb",), program="influxd"),
    Entry(
        name="derby",
        start=_derby,
        packages=("libderby-java", "openjdk-17-jdk-headless"),
        program="/usr/share/java/derbynet.jar",
    ),
)
