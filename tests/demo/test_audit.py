import time

from flowsonar.demo.audit import read_asked
from flowsonar.model import Confidence, Endpoint, Evidence, EvidenceKind, Transport, Verdict
from flowsonar.probes.audit import AuditAction, AuditEntry
from flowsonar.verdicts.store import Store


def test_acts_are_counted_by_endpoint(tmp_path):
    path = tmp_path / "verdicts.db"
    tcp, udp = Endpoint(Transport.TCP, "10.77.2.10", 80), Endpoint(Transport.UDP, "10.77.2.10", 53)
    store = Store(path)
    for endpoint, actions in ((tcp, ("connect", "send", "connect", "end")), (udp, ("send", "end"))):
        for action in actions:
            entry = AuditEntry(time_ns=time.time_ns(), endpoint=endpoint, action=AuditAction(action), probe="http/get")
            store.audit(entry)
        evidence = Evidence(kind=EvidenceKind.REPLY, service="http", confidence=Confidence.CONFIRMED)
        verdict = Verdict(service="http", confidence=Confidence.CONFIRMED, evidence=(evidence,))
        store.learned(endpoint, verdict, time.time())
    store.close()
    asked = read_asked(path, ["10.77.2.10", "10.77.2.11", "10.77.2.10"])
    assert asked == {("tcp", "10.77.2.10", 80): (2, 0), ("udp", "10.77.2.10", 53): (0, 1)}


def test_no_store_is_no_answer(tmp_path):
    assert read_asked(tmp_path / "verdicts.db", ["10.77.2.10"]) is None
    (tmp_path / "folder").mkdir()
    assert read_asked(tmp_path / "folder", ["10.77.2.10"]) is None
