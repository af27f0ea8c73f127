"""Servers and clients of the demo talk to each other on loopback, in processes as on the stage."""

import json
import random
import subprocess
import sys
from dataclasses import replace

from flowsonar.demo.plan import Plan, make_plan

ON_LOOPBACK = (
    "import sys; from flowsonar.demo import {role}, worker;"
    "worker.separate = lambda: None; worker.configure = lambda *_: None; sys.exit({role}.main())"
)


class Worker:
    def __init__(self, role, plan, folder):
        command = [sys.executable, "-c", ON_LOOPBACK.format(role=role)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.until("separate")
        given = {"addresses4": ["127.77.1.10"], "addresses6": [], "plan": plan.to_json(), "folder": str(folder)}
        self.tell(given)

    def tell(self, value):
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()

    def until(self, event):
        said = []
        for line in self.process.stdout:
            message = json.loads(line)
            if message["event"] == event:
                return said
            said.append(message)
        raise AssertionError(f"ended before {event}: {said}")

    def end(self):
        self.process.terminate()
        self.process.communicate(timeout=20)


def test_every_client_gets_on_with_its_server(tmp_path):
    plan = make_plan(random.Random(), ipv6=False)
    # SSH's 443 is for those who have a namespace of their own.
    plan = Plan(
        tuple(
            replace(one, address=one.address.replace("10.", "127.", 1), port=max(one.port, 9443))
            for one in plan.planned
        )
    )
    servers = Worker("services", plan, tmp_path)
    clients = None
    try:
        assert servers.until("ready") == []
        clients = Worker("clients", plan, tmp_path)
        clients.until("ready")
        clients.tell(None)
        news = clients.until("finished")
    finally:
        servers.end()
        if clients is not None:
            clients.end()
    assert [message for message in news if message["event"] == "failed"] == []
    assert {message["name"] for message in news} == {one.title for one in plan.planned if not one.last_port}
