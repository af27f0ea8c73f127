import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from flowsonar.errors import StoreError
from flowsonar.model import (
    Confidence,
    Endpoint,
    Evidence,
    EvidenceKind,
    Layer,
    Outcome,
    TrafficClass,
    Transport,
    Verdict,
)
from flowsonar.verdicts import store as module
from flowsonar.verdicts.store import Store, default_path
from tests.needs import needs_program, needs_root

NOW = float(int(time.time()))  # the store prunes by the clock
HOUR = 3600.0
HERE = Endpoint(Transport.TCP, "192.0.2.7", 8443)
THERE = Endpoint(Transport.UDP, "2001:db8::1", 53)

REPLY = Evidence(
    kind=EvidenceKind.REPLY,
    service="http",
    confidence=Confidence.CONFIRMED,
    over=Layer.TLS,
    product="nginx",
    probe="http/get",
    signature="http/status",
    detail="200",
    data=b"HTTP/1.1 200 OK\r\n\xff",
)
HTTPS = Verdict(
    service="http",
    over=Layer.TLS,
    product="nginx",
    version="1.22",
    confidence=Confidence.CONFIRMED,
    traffic_class=TrafficClass.INTERACTIVE,
    evidence=(REPLY,),
)
LABEL = Verdict(
    service="http",
    over=Layer.TLS,
    product="nginx",
    version="1.22",
    confidence=Confidence.CONFIRMED,
    traffic_class=TrafficClass.INTERACTIVE,
)


def likely(service):
    piece = Evidence(kind=EvidenceKind.BEHAVIOUR, service=service, confidence=Confidence.LIKELY)
    return Verdict(service=service, confidence=Confidence.LIKELY, evidence=(piece,))


@dataclass(frozen=True)
class Act:
    """What `probes.AuditEntry` is."""

    time_ns: int
    endpoint: Endpoint
    action: Transport  # any StrEnum
    probe: str
    bytes: int = 0
    outcome: Outcome | None = None
    detail: str = ""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "verdicts.db"


@pytest.fixture
def store(path):
    opened = Store(path)
    yield opened
    opened.close()


def rows(path, query):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


# -- times to live ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True], ids=["from memory", "from the file"])
@pytest.mark.parametrize(
    ("verdict", "life_s"),
    [(HTTPS, 24 * HOUR), (likely("sip"), HOUR), (Verdict(service="x", confidence=Confidence.GUESS), 600)],
)
def test_a_verdict_lives_as_long_as_its_confidence_deserves(path, verdict, life_s, again):
    store = Store(path)
    store.learned(HERE, verdict, NOW)
    if again:
        store.close()
        store = Store(path)
    assert store.verdict(HERE, NOW + life_s - 1).service == verdict.service
    assert store.verdict(HERE, NOW + life_s) is None
    assert store.verdict(THERE, NOW) is None
    store.close()


def test_the_label_comes_back_whole_without_evidence(path):
    store = Store(path)
    store.learned(HERE, HTTPS, NOW)
    assert store.verdict(HERE, NOW) == LABEL
    store.close()
    store = Store(path)
    assert store.verdict(HERE, NOW) == LABEL
    store.close()


def test_a_verdict_of_the_future_is_not_believed(store):
    store.learned(HERE, HTTPS, NOW + 10 * HOUR)
    assert store.verdict(HERE, NOW) is None


def test_forgotten(path, store):
    store.learned(HERE, HTTPS, NOW)
    store.forget(HERE)
    assert store.verdict(HERE, NOW) is None
    assert rows(path, "SELECT count(*) FROM endpoint") == [(0,)]
    assert [change[0] for change in rows(path, "SELECT event FROM history ORDER BY id")] == ["learned", "forgotten"]


def test_an_endpoint_that_several_services_share_is_likely_at_most(path, store):
    ssh = HTTPS._replace(service="ssh", over=None, evidence=(REPLY._replace(service="ssh", over=None),))
    for verdict, confidence in ((HTTPS, "confirmed"), (ssh, "confirmed"), (HTTPS, "likely"), (ssh, "likely")):
        store.learned(HERE, verdict, NOW)
        assert store.verdict(HERE, NOW).confidence == confidence
        store.forget(HERE)
    store.forget(HERE)  # nothing is known of it: that contradicts nothing
    store.learned(THERE, HTTPS, NOW)
    assert store.verdict(THERE, NOW).confidence == "confirmed"
    store.learned(HERE, HTTPS, NOW + 25 * HOUR)  # a day later it is as any other
    assert store.verdict(HERE, NOW + 25 * HOUR).confidence == "confirmed"


def test_what_was_contradicted_is_bounded(monkeypatch, store):
    monkeypatch.setattr(module, "MEMORY_ENTRIES", 3)
    for port in range(1, 9):
        endpoint = HERE._replace(port=port)
        for _ in range(2):
            store.learned(endpoint, HTTPS, NOW)
            store.forget(endpoint)
        store.learned(endpoint, HTTPS, NOW)
        assert store.verdict(endpoint, NOW).confidence == "likely"
    store.forget(HERE._replace(port=1))
    store.learned(HERE._replace(port=1), HTTPS, NOW)
    assert store.verdict(HERE._replace(port=1), NOW).confidence == "confirmed"


def test_forgetting_the_unknown_is_nothing(path, store):
    store.forget(HERE)
    assert rows(path, "SELECT count(*) FROM history") == [(0,)]


def test_what_rests_on_the_cache_does_not_renew_it(store):
    cached = Evidence(kind=EvidenceKind.ENDPOINT, service="http", confidence=Confidence.CONFIRMED)
    store.learned(HERE, HTTPS, NOW)
    store.learned(HERE, Verdict(service="http", confidence=Confidence.CONFIRMED, evidence=(cached,)), NOW + 20 * HOUR)
    assert store.verdict(HERE, NOW + 25 * HOUR) is None


def test_fresh_evidence_renews(store):
    store.learned(HERE, HTTPS, NOW)
    store.learned(HERE, HTTPS, NOW + 20 * HOUR)
    assert store.verdict(HERE, NOW + 40 * HOUR) == LABEL


def test_repeating_what_is_known_writes_nothing(path, store):
    store.learned(HERE, HTTPS, NOW)
    store.learned(HERE, HTTPS, NOW + 1)
    assert rows(path, "SELECT decided_s FROM endpoint") == [(NOW,)]
    assert rows(path, "SELECT count(*) FROM history") == [(1,)]


def test_weaker_evidence_of_the_same_changes_nothing(store):
    store.learned(HERE, HTTPS, NOW)
    store.learned(HERE, likely("http"), NOW + 10)
    assert store.verdict(HERE, NOW + 10) == LABEL


def test_another_service_replaces(store):
    store.learned(HERE, HTTPS, NOW)
    store.learned(HERE, likely("ssh"), NOW + 10)
    assert store.verdict(HERE, NOW + 10).service == "ssh"


# -- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True], ids=["from memory", "from the file"])
def test_an_endpoint_that_gives_nothing_rests_twice_as_long_each_time(path, again):
    store = Store(path)
    now = NOW
    for rest_s in (30, 60, 120, 240, 480, 960, 1920, 3600, 3600):
        assert store.may_ask(HERE, now)
        store.failed(HERE, Outcome.SILENT, now)
        if again:
            store.close()
            store = Store(path)
        assert not store.may_ask(HERE, now)
        assert store.rests_until(HERE, now) > now
        assert not store.may_ask(HERE, now + rest_s - 1)
        now += rest_s
    assert store.may_ask(HERE, now)
    store.close()


def test_success_ends_the_rest(store):
    store.failed(HERE, Outcome.REFUSED, NOW)
    store.learned(HERE, HTTPS, NOW)
    assert store.may_ask(HERE, NOW)
    store.failed(HERE, Outcome.REFUSED, NOW)
    assert store.may_ask(HERE, NOW + 30)


def test_what_is_only_likely_is_not_asked_again_at_once(store):
    store.learned(HERE, HTTPS._replace(confidence=Confidence.LIKELY), NOW)
    assert not store.may_ask(HERE, NOW + 29)
    assert store.may_ask(HERE, NOW + 30)
    store.learned(HERE, HTTPS, NOW + 1)
    assert store.may_ask(HERE, NOW + 2)


def test_a_rest_of_the_future_is_not_kept(store):
    store.failed(HERE, Outcome.SILENT, NOW + 10 * HOUR)
    assert store.may_ask(HERE, NOW)


def test_failure_leaves_a_valid_verdict(store):
    store.learned(HERE, HTTPS, NOW)
    store.failed(HERE, Outcome.SILENT, NOW + 1)
    assert store.verdict(HERE, NOW + 1) == LABEL
    (found,) = store.find(HERE.address)
    assert (found.verdict, found.failures, found.outcome) == (HTTPS, 1, "silent")


def test_what_nobody_could_identify_is_kept_with_its_answer(path):
    answer = Evidence(kind=EvidenceKind.REPLY, service=None, confidence=Confidence.UNKNOWN, data=b"\x00hm")
    store = Store(path)
    store.learned(HERE, Verdict(evidence=(answer,)), NOW)
    store.failed(HERE, Outcome.SILENT, NOW + 100)
    assert store.verdict(HERE, NOW) is None
    assert not store.may_ask(HERE, NOW + 101)
    (found,) = store.find(HERE.address)
    assert (found.verdict.evidence, found.failures) == ((answer,), 2)
    store.close()


# -- finding ----------------------------------------------------------------------------------------------------


def test_find_by_address_port_and_transport(store):
    dns = Endpoint(Transport.UDP, HERE.address, 53)
    dot = Endpoint(Transport.TCP, HERE.address, 53)
    for endpoint in (HERE, THERE, dns, dot):
        store.learned(endpoint, HTTPS, NOW)
    assert [found.endpoint for found in store.find(HERE.address)] == [dot, dns, HERE]
    assert [found.endpoint for found in store.find(HERE.address, 53)] == [dot, dns]
    assert [found.endpoint for found in store.find(HERE.address, 53, Transport.UDP)] == [dns]
    assert store.find("192.0.2.99") == []


def test_find_tells_everything(store):
    store.learned(HERE, likely("sip"), NOW)
    store.learned(HERE, HTTPS, NOW + 5)
    store.audit(Act(int(NOW * 1e9), HERE, Transport.TCP, "http/get", 120))
    store.audit(Act(int(NOW * 1e9), HERE, Transport.UDP, "http/get", 0, Outcome.ANSWERED, "\udcff"))
    store.audit(Act(int(NOW * 1e9), THERE, Transport.TCP, "dns/version"))
    (found,) = store.find(HERE.address)
    assert found.verdict == HTTPS
    assert (found.decided_s, found.expires_s) == (NOW + 5, NOW + 5 + 24 * HOUR)
    assert [(change.service, change.event) for change in found.history] == [("http", "learned"), ("sip", "learned")]
    assert [(act.action, act.bytes, act.outcome, act.detail) for act in found.asked] == [
        ("udp", 0, "answered", "\\udcff"),
        ("tcp", 120, None, ""),
    ]


# -- commits ----------------------------------------------------------------------------------------------------


def test_on_an_event_loop_writes_are_committed_together(path, monkeypatch):
    monkeypatch.setattr(module, "COMMIT_S", 0)
    store = Store(path, clock=lambda: 0.0)

    async def main():
        store.learned(HERE, HTTPS, NOW)
        store.learned(THERE, HTTPS, NOW)
        before = rows(path, "SELECT count(*) FROM endpoint")
        committed = asyncio.Event()
        asyncio.get_running_loop().call_later(0, committed.set)
        await committed.wait()
        return before, rows(path, "SELECT count(*) FROM endpoint")

    assert asyncio.run(main()) == ([(0,)], [(2,)])
    store.close()


def test_a_loop_that_ended_does_not_keep_writes(path):
    now = 0.0
    store = Store(path, clock=lambda: now)

    async def main():
        store.learned(HERE, HTTPS, NOW)

    asyncio.run(main())
    now = 5.0
    store.learned(THERE, HTTPS, NOW)
    assert rows(path, "SELECT count(*) FROM endpoint") == [(2,)]
    store.close()


def test_many_writes_do_not_wait(path, monkeypatch):
    monkeypatch.setattr(module, "PENDING_ROWS", 10)
    store = Store(path)

    async def main():
        for port in range(10):
            store.failed(Endpoint(Transport.TCP, "192.0.2.1", port), Outcome.SILENT, NOW)
        return rows(path, "SELECT count(*) FROM endpoint")

    assert asyncio.run(main()) == [(10,)]
    store.close()


def test_close_writes_what_waits_and_may_be_repeated(path):
    store = Store(path)

    async def main():
        store.learned(HERE, HTTPS, NOW)
        store.close()

    asyncio.run(main())
    store.close()
    assert rows(path, "SELECT count(*) FROM endpoint") == [(1,)]


def test_memory_is_bounded_and_the_file_remembers(store, monkeypatch):
    monkeypatch.setattr(module, "MEMORY_ENTRIES", 4)
    endpoints = [Endpoint(Transport.TCP, "192.0.2.1", port) for port in range(1, 20)]
    for endpoint in endpoints:
        store.learned(endpoint, HTTPS, NOW)
    assert len(store._memory) == 4
    assert all(store.verdict(endpoint, NOW) == LABEL for endpoint in endpoints)
    assert len(store._memory) == 4


# -- two at once, killed, full, broken --------------------------------------------------------------------------


def test_two_instances_learn_from_each_other(path):
    one, other = Store(path), Store(path)
    assert other.verdict(HERE, NOW) is None
    one.learned(HERE, HTTPS, NOW)
    assert other.verdict(HERE, NOW + module.RELOAD_S) == LABEL
    other.learned(THERE, HTTPS, NOW)
    assert one.verdict(THERE, NOW) == LABEL
    one.close()
    other.close()


def test_writes_wait_for_another_process_that_holds_the_file(path, monkeypatch):
    monkeypatch.setattr(module, "RUNNING_BUSY_S", 0.0)
    store = Store(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.learned(HERE, HTTPS, NOW)
    assert store.verdict(HERE, NOW) == LABEL
    assert store.problem is None
    other.execute("ROLLBACK")
    other.close()
    store.failed(THERE, Outcome.SILENT, NOW)
    assert rows(path, "SELECT count(*) FROM endpoint") == [(2,)]
    store.close()


WRITER = """
import sys
import time
from flowsonar.model import Confidence, Endpoint, Evidence, EvidenceKind, Transport, Verdict
from flowsonar.verdicts.store import Store
piece = Evidence(kind=EvidenceKind.REPLY, service="ssh", confidence=Confidence.CONFIRMED)
verdict = Verdict(service="ssh", confidence=Confidence.CONFIRMED, evidence=(piece,))
store = Store(sys.argv[1])
number = 0
while True:
    number += 1
    store.learned(Endpoint(Transport.TCP, sys.argv[2], number), verdict, time.time())
    if not store._waiting:  # what waits because the other writer has the file may be lost
        print(number, flush=True)
"""


def start_writer(path, address):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), address], stdout=subprocess.PIPE, text=True)


def test_survives_kill(path):
    writers = [start_writer(path, address) for address in ("192.0.2.1", "192.0.2.2")]  # two instances at once
    try:
        for writer in writers:
            while int(writer.stdout.readline() or "99") < 50:
                pass
    finally:
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
    last = {}
    for address, writer in zip(("192.0.2.1", "192.0.2.2"), writers, strict=True):
        said = writer.communicate()[0].split()
        last[address] = int(said[-1]) if said else 50
        assert writer.returncode == -signal.SIGKILL
    store = Store(path)
    for address, number in last.items():
        for port in (1, number // 2, number):
            kept = store.verdict(Endpoint(Transport.TCP, address, port), time.time())
            assert kept is not None, (address, port)
            assert kept.service == "ssh"
    assert store._database.read("PRAGMA integrity_check", ()) == [("ok",)]
    store.close()


def test_full_disk_is_told_once_and_memory_goes_on(path):
    clock = 0.0
    store = Store(path, clock=lambda: clock)
    (pages,) = store._database.read("PRAGMA page_count", ())[0]
    store._database.connection.execute(f"PRAGMA max_page_count = {pages}")
    endpoints = [Endpoint(Transport.TCP, "192.0.2.1", port) for port in range(400)]
    for endpoint in endpoints:
        store.learned(endpoint, HTTPS, NOW)
        store.audit(Act(int(NOW * 1e9), endpoint, Transport.TCP, "http/get"))
    assert "disk is full" in store.problem
    assert store.lost > 0
    assert all(store.verdict(endpoint, NOW) == LABEL for endpoint in endpoints)
    assert store.verdict(endpoints[-1], NOW + HOUR) == LABEL
    # space again: after a while it writes again
    store._database.connection.execute("PRAGMA max_page_count = 100000")
    clock = module.REPAIR_S + 1
    lost = store.lost
    store.learned(HERE, HTTPS, NOW)
    assert rows(path, "SELECT count(*) FROM endpoint WHERE port = 8443") == [(1,)]
    assert store.lost == lost
    with pytest.raises(StoreError, match=r"disk is full.*entries were not kept"):
        store.close()
    store.close()


FULL = """
import os, sys, time
from flowsonar.errors import StoreError
from flowsonar.model import Endpoint, Evidence, EvidenceKind, Confidence, Transport, Verdict
from flowsonar.verdicts.store import Store
piece = Evidence(kind=EvidenceKind.REPLY, service="ssh", confidence=Confidence.CONFIRMED, data=bytes(256))
verdict = Verdict(service="ssh", confidence=Confidence.CONFIRMED, evidence=(piece,))
store = Store(sys.argv[1])
for number in range(3000):
    store.learned(Endpoint(Transport.TCP, "192.0.2.1", number), verdict, time.time())
assert store.verdict(Endpoint(Transport.TCP, "192.0.2.1", 2999), time.time()).service == "ssh"
try:
    store.close()
except StoreError as error:
    print(error)
again = Store(sys.argv[1])
print(again.verdict(Endpoint(Transport.TCP, "192.0.2.1", 1), time.time()).service)
"""


@needs_root()
@needs_program("unshare")
def test_a_really_full_disk(tmp_path):
    script = 'mount -t tmpfs -o size=512k tmpfs "$1" && exec "$2" -c "$3" "$1/verdicts.db"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, FULL],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "verdicts.db" in first
    assert "entries were not kept" in first
    assert second == "ssh"


def test_a_file_that_breaks_while_in_use(path):
    store = Store(path)
    store.learned(HERE, HTTPS, NOW)
    store._database.connection.execute("DROP TABLE endpoint")
    assert store.verdict(THERE, NOW) is None
    store.learned(THERE, HTTPS, NOW)
    assert store.verdict(THERE, NOW) == LABEL
    assert store.verdict(HERE, NOW) == LABEL
    assert "verdict store failed" in store.problem
    with pytest.raises(StoreError):
        store.find(HERE.address)
    with pytest.raises(StoreError):
        store.close()


def test_damaged_rows_are_asked_anew(path):
    store = Store(path)
    store.learned(HERE, HTTPS, NOW)
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE endpoint SET verdict = x'00'")
    connection.commit()
    connection.close()
    store = Store(path)
    assert store.verdict(HERE, NOW) is None
    assert store.find(HERE.address)[0].verdict == Verdict()
    store.close()


def test_default_path(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "flowsonar" / "verdicts.db"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # XDG: relative paths are to be ignored
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_path() == tmp_path / "home" / ".local" / "state" / "flowsonar" / "verdicts.db"
    store = Store()
    assert default_path().is_file()
    store.close()


def test_what_was_found_lately_is_told_the_oldest_first(tmp_path):
    store = Store(tmp_path / "verdicts.db")
    for port, service in ((1, "ssh"), (2, "http"), (3, "redis")):
        endpoint = Endpoint(Transport.TCP, "10.0.0.1", port)
        store.learned(endpoint, Verdict(service=service, confidence=Confidence.CONFIRMED), 1e9 + port)
    store.flush()
    assert [(one.port, service) for one, service in store.lately(2)] == [(2, "http"), (3, "redis")]
    store.close()
