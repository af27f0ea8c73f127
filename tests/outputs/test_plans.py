import json

from flowsonar.model import Endpoint, Transport
from flowsonar.outputs.plans import plan_line

ENDPOINT = Endpoint(Transport.UDP, "2001:db8::1", 53)


def test_for_people_and_programs() -> None:
    assert plan_line(ENDPOINT, ["listen", "ask"], json=False) == b"would ask [2001:db8::1]:53/udp: listen; ask\n"
    record = json.loads(plan_line(ENDPOINT, ["listen"], json=True))
    assert record == {
        "event_type": "plan",
        "dest_ip": "2001:db8::1",
        "dest_port": 53,
        "proto": "UDP",
        "flowsonar": {"plan": ["listen"]},
    }
