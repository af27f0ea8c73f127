"""Message brokers and work queues."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.catalogue.endpoints import endpoint, says
from lab.catalogue.entry import Entry, version_of
from lab.services.base import Site
from lab.truth import EITHER, TLS

__all__ = ["PROGRAMS"]

_ACTIVEMQ = """<beans xmlns="http://www.springframework.org/schema/beans"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.springframework.org/schema/beans
 http://www.springframework.org/schema/beans/spring-beans.xsd http://activemq.apache.org/schema/core
 http://activemq.apache.org/schema/core/activemq-core.xsd">
<broker xmlns="http://activemq.apache.org/schema/core" brokerName="localhost" persistent="false" useJmx="false"
 dataDirectory="{folder}"><transportConnectors>
<transportConnector name="o" uri="tcp://0.0.0.0:{openwire}"/>
<transportConnector name="s" uri="stomp://0.0.0.0:{stomp}"/>
</transportConnectors></broker></beans>
"""
_AMQTT = """listeners:
  default:
    type: tcp
    bind: 0.0.0.0:{port}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""
_ZMQ = "import sys, time, zmq; s = zmq.Context().socket(zmq.REP); s.bind('tcp://*:' + sys.argv[1]); time.sleep(1e6)"
_THRIFT = """
import sys, thriftpy2
from thriftpy2.rpc import make_server
from thriftpy2.transport import TFramedTransportFactory
class Handler:
    def ping(self):
        return "pong"
definition = thriftpy2.load(sys.argv[2], module_name="lab_thrift")
make_server(definition.Ping, Handler(), "0.0.0.0", int(sys.argv[1]), trans_factory=TFramedTransportFactory()).serve()
"""
_JAVA = "/usr/share/activemq/lib/*:/usr/share/activemq/lib/optional/*:/usr/share/java/*"
_CONNECT = bytes.fromhex("101200044d51545404020005000673616d706c65")


def _mosquitto(site: Site) -> None:
    plain, secure, folder = site.ports.one(), site.ports.one(), site.folder("mosquitto", owner="mosquitto")
    pem = folder / "certificate.pem"
    shutil.copy(site.certificate, pem)
    shutil.chown(pem, "mosquitto")
    path = folder / "mosquitto.conf"
    path.write_text(
        f"allow_anonymous true\nlistener {plain}\nlistener {secure}\ncertfile {pem}\nkeyfile {pem}\nlog_type none\n"
    )
    site.run("mosquitto", "-c", path)
    client = ("mosquitto_pub", "-h", "{address}", "-p", "{port}", "-t", "a/b", "-m", "hello")
    endpoint(site, "mosquitto", "mqtt", plain, client)
    pem_client = (*client, "--cafile", str(pem), "--insecure")
    endpoint(site, "mosquitto-tls", "mqtt", secure, pem_client, over=TLS)


def _amqtt(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("amqtt")
    path = folder / "amqtt.yaml"
    path.write_text(_AMQTT.format(port=port))
    site.run(Path(site.interpreter).with_name("amqtt"), "-c", path, name="amqtt")
    endpoint(site, "amqtt", "mqtt", port, says(_CONNECT), families=(4,))


def _nats(site: Site) -> None:
    plain, secure = site.ports.one(), site.ports.one()
    version = version_of(["nats-server", "--version"])
    site.run("nats-server", "-p", str(plain))
    connect = says(b'CONNECT {"verbose":false,"pedantic":false,"lang":"python"}\r\nPING\r\n')
    endpoint(site, "nats", "nats", plain, connect, product="NATS server", version=version)
    pem = str(site.certificate)
    site.run("nats-server", "-p", str(secure), "--tls", "--tlscert", pem, "--tlskey", pem)
    endpoint(site, "nats-starttls", "nats", secure, connect, over=EITHER, product="NATS server", version=version)


def _beanstalkd(site: Site) -> None:
    port = site.ports.one()
    site.run("beanstalkd", "-l", "0.0.0.0", "-p", str(port))
    version = version_of(["beanstalkd", "-v"], r"([0-9]+\.[0-9]+)")
    client = says(b"put 0 0 60 5\r\nhello\r\n")
    endpoint(site, "beanstalkd", "beanstalkd", port, client, product="beanstalkd", version=version, families=(4,))


def _gearmand(site: Site) -> None:
    port = site.ports.one()
    site.run("gearmand", "-p", str(port), "-L", "0.0.0.0", "-l", "stderr")
    version = version_of(["gearmand", "--version"], r"([0-9]+\.[0-9]+\.[0-9]+)")
    client = ("gearadmin", "-h", "{address}", "-p", "{port}", "--status")
    endpoint(site, "gearmand", "gearman", port, client, product="gearmand", version=version, families=(4,))


def _activemq(site: Site) -> None:
    openwire, stomp, folder = site.ports.one(), site.ports.one(), site.folder("activemq")
    path = folder / "activemq.xml"
    path.write_text(_ACTIVEMQ.format(folder=folder, openwire=openwire, stomp=stomp))
    where = ["-Dactivemq.home=/usr/share/activemq", f"-Dactivemq.base={folder}"]
    site.run("java", "-cp", _JAVA, *where, "org.apache.activemq.console.Main", "start", f"xbean:file:{path}")
    version = version_of(["dpkg-query", "-W", "-f", "${Version}", "activemq"], r"([0-9]+\.[0-9]+\.[0-9]+)")
    endpoint(
        *(site, "activemq-openwire", "openwire", openwire, says(b"\x00")),
        product="Apache ActiveMQ",
        version=version,
        families=(4,),
    )
    client = says(b"CONNECT\naccept-version:1.2\nhost:lab\n\n\x00")
    endpoint(site, "activemq-stomp", "stomp", stomp, client, product="Apache ActiveMQ", families=(4,))


def _zmq(site: Site) -> None:
    port = site.ports.one()
    site.run(site.interpreter, "-c", _ZMQ, str(port), name="zmq")
    endpoint(site, "zmq", "zmtp", port, says(bytes.fromhex("ff00000000000000017f")), families=(4,))


def _thrift(site: Site) -> None:
    port, folder = site.ports.one(), site.folder("thrift")
    path = folder / "ping.thrift"
    path.write_text("service Ping { string ping() }\n")
    site.run(site.interpreter, "-c", _THRIFT, str(port), path, name="thrift")
    client = says(bytes.fromhex("0000001180010001000000047069") + b"ng" + bytes.fromhex("0000000100"))
    endpoint(site, "thrift", "thrift", port, client, families=(4,))


PROGRAMS = (
    Entry(name="mosquitto", start=_mosquitto, packages=("mosquitto", "mosquitto-clients")),
    Entry(name="amqtt", start=_amqtt, pip=("amqtt",), program="/"),
    Entry(name="nats", start=_nats, packages=("nats-server",), program="nats-server"),
    Entry(name="beanstalkd", start=_beanstalkd, packages=("beanstalkd",)),
    Entry(name="gearmand", start=_gearmand, packages=("gearman-job-server", "gearman-tools")),
    Entry(
        name="activemq",
        start=_activemq,
        packages=("activemq", "openjdk-17-jdk-headless"),
        program="/usr/share/activemq/lib/activemq-broker.jar",
    ),
    Entry(name="zmq", start=_zmq, pip=("pyzmq",), program="/"),
    Entry(name="thrift", start=_thrift, pip=("thriftpy2",), program="/"),
)
