import random

import pytest

from flowsonar.demo.plan import Judgement, Plan, Planned, find_program, judge, label_of, make_plan

HTTPS = Planned(key="https", title="HTTPS", service="http", over="tls", address="10.77.2.10", port=4443)
FTP = Planned(key="ftp", title="FTP", service="ftp", address="10.77.2.11", port=2121)
DATA = Planned(
    key="ftp", title="data", service="ftp", also=("ftp-data",), address="10.77.2.11", port=40000, last_port=40020
)
SILENT = Planned(key="silent", title="silent", address="10.77.2.12", port=999)
PLAN = Plan((HTTPS, FTP, DATA, SILENT))


def record(source, target, proto="TCP", service=None, over=None, confidence="confirmed"):
    return {
        "proto": proto,
        "src_ip": source[0],
        "src_port": source[1],
        "dest_ip": target[0],
        "dest_port": target[1],
        "flowsonar": {"service": service, "over": over, "confidence": confidence},
    }


CLIENT = ("10.77.1.10", 50000)


@pytest.mark.parametrize(
    ("source", "target", "proto", "expected"),
    [
        (CLIENT, ("10.77.2.10", 4443), "TCP", HTTPS),
        (CLIENT, ("10.77.2.10", 4443), "UDP", None),
        (CLIENT, ("10.77.2.11", 2121), "TCP", FTP),
        (CLIENT, ("10.77.2.11", 40020), "TCP", DATA),
        (CLIENT, ("10.77.2.11", 40021), "TCP", None),
        (("10.77.2.11", 53333), CLIENT, "TCP", DATA),
        (("10.77.2.10", 53333), CLIENT, "TCP", None),
        (("10.77.2.10", 4443), CLIENT, "TCP", HTTPS),
    ],
)
def test_truth_of_a_flow(source, target, proto, expected):
    assert PLAN.truth_of(record(source, target, proto)) is expected


@pytest.mark.parametrize(
    ("planned", "service", "over", "confidence", "expected"),
    [
        (HTTPS, "http", "tls", "confirmed", Judgement.RIGHT),
        (HTTPS, "http", None, "confirmed", Judgement.WRONG),
        (HTTPS, "tls", None, "confirmed", Judgement.PARTLY),
        (HTTPS, None, None, "unknown", Judgement.MISSED),
        (HTTPS, "http", "tls", "guess", Judgement.MISSED),
        (FTP, "ftp", None, "likely", Judgement.RIGHT),
        (FTP, "ftp", "tls", "likely", Judgement.RIGHT),
        (DATA, "ftp-data", None, "confirmed", Judgement.RIGHT),
        (SILENT, None, None, "unknown", Judgement.RIGHT),
        (SILENT, "http", None, "guess", Judgement.RIGHT),
        (SILENT, "http", None, "likely", Judgement.WRONG),
    ],
)
def test_judgement(planned, service, over, confidence, expected):
    assert judge(planned, record(CLIENT, CLIENT, "TCP", service, over, confidence)) is expected


def test_labels():
    assert label_of(record(CLIENT, CLIENT, "TCP", "http", "tls")) == "http/tls"
    assert label_of({}) == "unknown"
    assert HTTPS.truth == "http/tls"


@pytest.mark.parametrize("ipv6", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_no_endpoint_is_planned_twice(seed, ipv6):
    plan = make_plan(random.Random(seed), ipv6=ipv6)
    taken = [
        (one.transport, one.address, port)
        for one in plan.planned
        for port in range(one.port, max(one.port, one.last_port) + 1)
    ]
    assert len(taken) == len(set(taken))
    assert max(port for _, _, port in taken) < 65536
    assert any(":" in one.address for one in plan.planned) == ipv6
    assert {"http", "ftp", "skype", "tls", None} <= {one.service for one in plan.planned}


def test_json_and_back():
    plan = make_plan(random.Random(1))
    assert Plan.from_json(plan.to_json()) == plan


def test_programs_are_looked_for_where_servers_live():
    assert find_program("no-such-program") is None
    assert find_program("sh")


@pytest.mark.parametrize(
    ("service", "over", "confidence"), [("tls", None, "confirmed"), ("ftp", "tls", "likely"), ("ftp", None, "likely")]
)
def test_ftp_data_inside_tls_is_one_or_the_other(service, over, confidence):
    data = next(planned for planned in make_plan(random.Random(1)).find("ftps") if planned.last_port)
    seen = record(CLIENT, (data.address, data.port), service=service, over=over, confidence=confidence)
    assert judge(data, seen) is Judgement.RIGHT
