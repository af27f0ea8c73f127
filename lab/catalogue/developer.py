"""What developers' tools and application servers speak: git, svn, rsync, Java's protocols, gateway interfaces."""

from __future__ import annotations

from lab.catalogue.endpoints import endpoint, says
from lab.catalogue.entry import Entry, version_of
from lab.services.base import Site

__all__ = ["PROGRAMS"]

_JDK = "openjdk-17-jdk-headless"
_SLEEP = "public class Sleep { public static void main(String[] a) throws Exception { Thread.sleep(1000000000L); } }\n"
_TOMCAT = """<Server port="-1"><Service name="Catalina">
<Connector port="{http}" protocol="HTTP/1.1"/>
<Connector port="{ajp}" protocol="AJP/1.3" address="::" secretRequired="false"/>
<Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps"/></Engine>
</Service></Server>
"""
_FPM = """[global]
error_log=/dev/stderr
pid={folder}/pid
daemonize=no
[www]
listen={port}
user=nobody
pm=static
pm.max_children=1
"""


def _git(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("git")
    site.run("git", "daemon", f"--port={port}", f"--base-path={folder}", "--export-all", folder, name="git-daemon")
    endpoint(site, "git-daemon", "git", port, ("git", "ls-remote", "git://{host}:{port}/none"))


def _svn(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("svn")
    site.run("svnserve", "-d", "--foreground", "--listen-port", str(port), "-r", folder)
    endpoint(site, "svnserve", "svn", port, ("svn", "info", "--non-interactive", "svn://{host}:{port}/"), families=(4,))


def _rsync(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("rsync")
    path = folder / "rsyncd.conf"
    path.write_text(f"use chroot = no\n[files]\npath = {site.files}\n")
    site.run("rsync", "--daemon", "--no-detach", f"--port={port}", f"--config={path}", name="rsyncd")
    endpoint(site, "rsyncd", "rsync", port, ("rsync", "rsync://{host}:{port}/files/"), product="rsync")


def _rmi(site: Site) -> None:
    port = site.ports.one()
    site.run("rmiregistry", str(port))
    endpoint(site, "rmiregistry", "java-rmi", port, says(bytes.fromhex("4a524d4900024b")))


def _jdwp(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("jdwp")
    path = folder / "Sleep.java"
    path.write_text(_SLEEP)
    agent = f"-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=0.0.0.0:{port}"
    site.run("java", agent, path, name="jdwp")
    endpoint(site, "jdwp", "jdwp", port, says(b"JDWP-Handshake"), families=(4,))


def _tomcat(site: Site) -> None:
    http, ajp, folder = site.ports.one(), site.ports.one(), site.folder("tomcat")
    for name in ("conf", "logs", "temp", "webapps", "work"):
        (folder / name).mkdir()
    (folder / "conf" / "server.xml").write_text(_TOMCAT.format(http=http, ajp=ajp))
    classes = "/usr/share/tomcat10/bin/bootstrap.jar:/usr/share/tomcat10/bin/tomcat-juli.jar"
    where = ["-Dcatalina.home=/usr/share/tomcat10", f"-Dcatalina.base={folder}", f"-Djava.io.tmpdir={folder}/temp"]
    site.run("java", "-cp", classes, *where, "org.apache.catalina.startup.Bootstrap", "start", name="tomcat")
    version = version_of(["dpkg-query", "-W", "-f", "${Version}", "tomcat10"], r"([0-9]+\.[0-9]+\.[0-9]+)")
    client = ("curl", "-sS", "http://{host}:{port}/")
    endpoint(site, "tomcat", "http", http, client, product="Apache Tomcat", version=version)
    endpoint(site, "tomcat-ajp", "ajp", ajp, says(bytes.fromhex("123400010a")))


def _fcgiwrap(site: Site) -> None:
    port = site.ports.one()
    site.run("spawn-fcgi", "-n", "-p", str(port), "/usr/sbin/fcgiwrap")
    begin = bytes.fromhex("0101000100080000 0001000000000000 0104000100000000 0105000100000000")
    endpoint(site, "fcgiwrap", "fastcgi", port, says(begin), families=(4,))


def _fpm(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("php-fpm")
    path = folder / "fpm.conf"
    path.write_text(_FPM.format(folder=folder, port=port))
    site.run("php-fpm8.2", "-F", "-y", path)
    begin = bytes.fromhex("0101000100080000 0001000000000000 0104000100000000 0105000100000000")
    endpoint(site, "php-fpm", "fastcgi", port, says(begin))


def _supervisor(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("supervisor")
    path = folder / "supervisor.conf"
    head = f"[supervisord]\nnodaemon=true\npidfile={folder}/pid\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
    path.write_text(f"{head}[inet_http_server]\nport=0.0.0.0:{port}\n")
    site.run("supervisord", "-c", path)
    client = ("curl", "-sS", "http://{host}:{port}/")
    version = version_of(["supervisord", "--version"])
    endpoint(site, "supervisor", "http", port, client, product="Supervisor", version=version, families=(4,))


PROGRAMS = (
    Entry(name="git-daemon", start=_git, packages=("git",), program="git"),
    Entry(name="svnserve", start=_svn, packages=("subversion",)),
    Entry(name="rsyncd", start=_rsync, packages=("rsync",), program="rsync"),
    Entry(name="rmiregistry", start=_rmi, packages=(_JDK,)),
    Entry(name="jdwp", start=_jdwp, packages=(_JDK,), program="javac"),
    Entry(name="tomcat", start=_tomcat, packages=("tomcat10", _JDK), program="/usr/share/tomcat10/bin/bootstrap.jar"),
    Entry(name="fcgiwrap", start=_fcgiwrap, packages=("fcgiwrap", "spawn-fcgi"), program="spawn-fcgi"),
    Entry(name="php-fpm", start=_fpm, packages=("php8.2-fpm",), program="php-fpm8.2"),
    Entry(name="supervisor", start=_supervisor, packages=("supervisor",), program="supervisord"),
)
