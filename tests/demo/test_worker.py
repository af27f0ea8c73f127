import io
import json

from flowsonar.demo import worker
from flowsonar.demo.namespaces import CLIENTS, NamespaceError
from flowsonar.demo.plan import Plan, Planned
from flowsonar.demo.worker import run_worker

PLAN = Plan((Planned(key="echo", title="Echo", service="echo", address="10.77.2.10", port=7007),))


async def role(setting):
    worker.say("ready", address=setting.local[0], ipv6=setting.ipv6, first=setting.plan.planned[0].title)


def run(monkeypatch, capsys, standard_input):
    configured = []
    monkeypatch.setattr(worker, "die_with_parent", lambda: None)
    monkeypatch.setattr(worker, "configure", lambda *arguments: configured.append(arguments))
    monkeypatch.setattr(worker.sys, "stdin", io.StringIO(standard_input))
    code = run_worker(CLIENTS, role)
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()], configured


def test_the_conversation(monkeypatch, capsys):
    monkeypatch.setattr(worker, "separate", lambda: None)
    given = {"addresses4": ["10.77.1.10"], "addresses6": [], "plan": PLAN.to_json(), "folder": "/tmp"}
    code, said, configured = run(monkeypatch, capsys, json.dumps(given) + "\n")
    assert code == 0
    assert said == [{"event": "separate"}, {"event": "ready", "address": "10.77.1.10", "ipv6": False, "first": "Echo"}]
    assert configured == [("eth0", ["10.77.1.10"], [], CLIENTS)]


def test_a_stage_that_is_gone(monkeypatch, capsys):
    monkeypatch.setattr(worker, "separate", lambda: None)
    assert run(monkeypatch, capsys, "") == (1, [{"event": "separate"}], [])


def test_a_namespace_that_is_refused_is_told(monkeypatch, capsys):
    def refuse():
        raise NamespaceError("not here")

    monkeypatch.setattr(worker, "separate", refuse)
    assert run(monkeypatch, capsys, "") == (1, [{"event": "failed", "name": "namespace", "error": "not here"}], [])
