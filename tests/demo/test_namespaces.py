import errno
import subprocess
import sys
from pathlib import Path

import pytest

from flowsonar.demo import namespaces
from flowsonar.demo.namespaces import CLIENTS, NamespaceError
from tests.needs import needs_root


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)


def test_addresses():
    assert CLIENTS.address4(10) == "10.77.1.10"
    assert CLIENTS.address6(10) == "fd77:1::a"


@pytest.mark.parametrize("uid", [0, 1000])
def test_a_refusal_says_what_to_do(monkeypatch, uid):
    monkeypatch.setattr(namespaces, "_unshare", lambda _: errno.EPERM)
    monkeypatch.setattr(namespaces.os, "geteuid", lambda: uid)
    with pytest.raises(NamespaceError, match="run the demo as root"):
        namespaces.enter()


@pytest.mark.parametrize(("path", "bad", "advice"), namespaces._USERNS_SWITCHES)
def test_the_switch_that_forbids_is_named(monkeypatch, path, bad, advice):
    monkeypatch.setattr(namespaces, "_unshare", lambda _: errno.EPERM)
    monkeypatch.setattr(namespaces.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(namespaces, "_reads", lambda asked: bad if asked == path else None)
    with pytest.raises(NamespaceError, match=advice):
        namespaces.enter()


def test_a_restricted_user_namespace_is_a_refusal(monkeypatch):
    def refuse(self, text):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(namespaces, "_unshare", lambda _: 0)
    monkeypatch.setattr(namespaces.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(NamespaceError, match="Operation not permitted"):
        namespaces.enter()


def test_forwarding_that_cannot_be_switched_on_says_so(monkeypatch):
    def refuse(self, text):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(NamespaceError, match="read-only here"):
        namespaces.forward()


@needs_root()
def test_a_namespace_of_ones_own():
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    code = (
        "from flowsonar.demo import namespaces as n; n.enter(); n.forward(); n.configure('lo', ['127.0.0.1'], []);"
        "import socket; print([name for _, name in socket.if_nameindex() if name not in ('lo',)"
        " and not name.startswith(('ifb', 'tun', 'sit', 'gre', 'ip', 'erspan'))])"
    )
    result = run(code)
    assert (result.stdout, result.stderr) == ("[]\n", "")
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before


def test_a_process_ends_with_its_parent():
    inner = (
        "import signal, sys; from flowsonar.demo.namespaces import die_with_parent; die_with_parent();"
        "sys.stdout.write('up'); sys.stdout.flush(); signal.pause()"
    )
    code = (
        f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {inner!r}], stdout=subprocess.PIPE);"
        "child.stdout.read(2); print(child.pid, flush=True); import os; os._exit(0)"
    )
    # The pipe to `run` is inherited by nobody: what is read to its end has ended.
    child = int(run(code).stdout)
    subprocess.run(["tail", "-f", f"--pid={child}", "/dev/null"], timeout=10, check=True)
