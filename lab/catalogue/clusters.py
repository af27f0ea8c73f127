"""What clusters are held together with: coordination, port mappers, block devices, registries."""

from __future__ import annotations

from lab.catalogue.endpoints import endpoint, says
from lab.catalogue.entry import Entry, version_of
from lab.services.base import Site

__all__ = ["PROGRAMS"]

_ZOOKEEPER = """tickTime=2000
dataDir={folder}
clientPort={port}
admin.enableServer=false
"""
_NBD = """[generic]
port={port}
allowlist=true
[small]
exportname={folder}/image
"""
_REGISTRY = """version: 0.1
storage:
  filesystem:
    rootdirectory: {folder}
http:
  addr: :{port}
"""


def _zookeeper(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("zookeeper")
    path = folder / "zoo.cfg"
    path.write_text(_ZOOKEEPER.format(folder=folder, port=port))
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    site.run("java", "-cp", "/usr/share/java/*:/etc/zookeeper/conf", main, path, name="zookeeper")
    version = version_of(["dpkg-query", "-W", "-f", "${Version}", "zookeeper"], r"([0-9]+\.[0-9]+\.[0-9]+)")
    hello = bytes.fromhex("0000002d" + "00" * 16 + "00007530" + "00" * 8 + "00000010" + "00" * 17)
    endpoint(site, "zookeeper", "zookeeper", port, says(hello[:49]), product="Apache ZooKeeper", version=version)


def _etcd(site: Site) -> None:
    port, peer, folder = site.ports.one(), site.ports.one(), site.folder("etcd")
    urls = ["--listen-client-urls", f"http://0.0.0.0:{port}", "--advertise-client-urls", f"http://127.0.0.1:{port}"]
    site.run("etcd", "--data-dir", folder, *urls, "--listen-peer-urls", f"http://127.0.0.1:{peer}")
    version = version_of(["etcd", "--version"], r"etcd Version: ([0-9.]+)")
    client = ("etcdctl", "--endpoints", "http://{host}:{port}", "get", "key")
    endpoint(site, "etcd", "etcd", port, client, product="etcd", version=version, families=(4,))


def _epmd(site: Site) -> None:
    port = site.ports.one()
    site.run("epmd", "-port", str(port))
    endpoint(site, "epmd", "epmd", port, says(bytes.fromhex("00016e")))


def _nbd(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("nbd")
    with (folder / "image").open("wb") as image:
        image.truncate(1 << 20)
    path = folder / "nbd.conf"
    path.write_text(_NBD.format(port=port, folder=folder))
    # with -d it ends after each client, without it goes to the background: it is ended from here
    waits = 'trap "kill $(cat "$1")" EXIT; trap exit TERM; while sleep 1; do :; done'
    site.run("sh", "-c", f'nbd-server -C "$0" -p "$1"; sleep 1; {waits}', path, folder / "pid", name="nbd-server")
    endpoint(site, "nbd", "nbd", port, says(bytes.fromhex("00000003")))


def _registry(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("registry")
    path = folder / "registry.yml"
    path.write_text(_REGISTRY.format(port=port, folder=folder))
    site.run("docker-registry", "serve", path)
    client = ("curl", "-sS", "http://{host}:{port}/v2/")
    endpoint(site, "docker-registry", "docker-registry", port, client, product="Docker Registry")


PROGRAMS = (
    Entry(
        name="zookeeper",
        start=_zookeeper,
        packages=("zookeeper", "openjdk-17-jdk-headless"),
        program="/usr/share/java/zookeeper.jar",
    ),
    Entry(name="etcd", start=_etcd, packages=("etcd-server", "etcd-client")),
    Entry(name="epmd", start=_epmd, packages=("erlang-base",)),
    Entry(name="nbd", start=_nbd, packages=("nbd-server",), program="nbd-server"),
    Entry(name="docker-registry", start=_registry, packages=("docker-registry",)),
)
