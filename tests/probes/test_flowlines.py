"""Flow records of other tools: the formats as the tools write them, and what is broken in them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.errors import MalformedError
from flowsonar.model import Side
from flowsonar.probes.flowlines import FlowLine, FlowLines, NotARecord

ZEEK = [
    r"#separator \x09",
    "#set_separator\t,",
    "#path\tconn",
    "#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\thistory\tlocal_orig",
    "#types\ttime\taddr\tport\taddr\tport\tenum\tstring\tstring\tbool",
]
OLD = "ts,te,td,sa,da,sp,dp,pr,flg"  # nfdump 1.6 and 1.7.1
NEW = "firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes"  # nfdump 1.7.3 and later


def records(*lines: str) -> list[FlowLine]:
    reader = FlowLines()
    return [found for line in lines if (found := reader.parse(line)) is not None]


def asked(*lines: str) -> list[tuple[str, int, str] | None]:
    return [
        None if (one := record.target) is None else (one.host, one.port, str(one.transport))
        for record in records(*lines)
    ]


def test_zeek_tsv() -> None:
    lines = [*ZEEK, "1.5\t192.0.2.9\t4242\t192.0.2.4\t443\ttcp\tssl\tShADad\tT", "#close\t2026"]
    (record,) = records(*lines)
    assert asked(*lines) == [("192.0.2.4", 443, "tcp")]
    assert record.fields["ts"] == 1.5
    assert record.fields["id.resp_p"] == 443
    assert record.fields["local_orig"] is True
    assert record.target is not None
    assert record.target.hints is not None
    assert record.target.hints.first_speaker is Side.INITIATOR
    assert record.target.hints.candidates == ("tls",)


@pytest.mark.parametrize(
    ("history", "first", "midstream"),
    [("ShAdDa", Side.RESPONDER, False), ("ShADad", Side.INITIATOR, False), ("ShA", None, False), ("dD", None, True)],
)
def test_zeek_tells_who_spoke_first(history: str, first: Side | None, midstream: bool) -> None:
    (record,) = records(*ZEEK, f"1.5\t192.0.2.9\t4242\t192.0.2.4\t443\ttcp\t-\t{history}\tT")
    assert record.target is not None
    assert record.target.hints is not None
    assert (record.target.hints.first_speaker, record.target.hints.midstream) == (first, midstream)


def test_zeek_json() -> None:
    assert asked('{"id.orig_h":"192.0.2.1","id.resp_h":"2001:DB8::1","id.resp_p":53,"proto":"udp"}') == [
        ("2001:db8::1", 53, "udp")
    ]
    assert asked('{"id":{"resp_h":"192.0.2.1","resp_p":22},"proto":"tcp"}') == [("192.0.2.1", 22, "tcp")]


def test_suricata() -> None:
    flow = '{"event_type":"flow","src_ip":"192.0.2.9","dest_ip":"192.0.2.2","dest_port":53,"proto":"UDP"}'
    assert asked(flow) == [("192.0.2.2", 53, "udp")]
    tls = '{"event_type":"tls","dest_ip":"192.0.2.2","dest_port":443,"proto":"TCP","tls":{"sni":"a.example"}}'
    (record,) = records(tls)
    assert record.target is not None
    assert record.target.hints is not None
    assert record.target.hints.server_name == "a.example"
    (alert,) = records(flow.replace('"flow"', '"alert"'))
    assert alert.target is None
    assert "alert" in alert.why


@pytest.mark.parametrize(
    "lines",
    [
        [OLD, "2026-01-01,2026-01-01,0.1,192.0.2.9,192.0.2.1,40000,8080,TCP,...AP.SF"],
        [OLD, "2026-01-01,2026-01-01,0.1,192.0.2.1,192.0.2.9,8080,40000,TCP,...AP.SF"],
        [NEW, "2026-01-01 00:00:00.000,0.1,6,192.0.2.9,40000,192.0.2.1,8080,7,383"],
        [NEW, "2026-01-01 00:00:00.000,0.1,TCP  ,  192.0.2.1, 8080 ,192.0.2.9,40000,7,383"],
    ],
)
def test_nfdump_either_direction_is_the_same_endpoint(lines: list[str]) -> None:
    assert asked(*lines) == [("192.0.2.1", 8080, "tcp")]


def test_nfdump_ends_with_a_summary() -> None:
    assert asked(OLD, "Summary", "flows,bytes,packets,avg_bps,avg_pps,avg_bpp", "2,2307,14,1,2,3") == []
    assert asked(NEW, "No matching flows") == []


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [(443, 80, 80), (1023, 1024, 1023), (5060, 40000, 5060), (50000, 33000, 33000), (5000, 5000, 5000), (0, 53, 53)],
)
def test_netflow_does_not_say_who_answers(source: int, destination: int, expected: int) -> None:
    (found,) = asked(NEW, f"x,0.1,17,192.0.2.1,{source},192.0.2.2,{destination},7,383")
    assert found is not None
    assert found[1] == expected


def test_icmp_and_port_zero_have_nobody() -> None:
    assert asked('{"id.resp_h":"192.0.2.1","id.resp_p":0,"proto":"icmp"}') == [None]
    assert asked('{"id.resp_h":"192.0.2.1","id.resp_p":0,"proto":"tcp"}') == [None]
    assert asked(NEW, "x,0.1,1,192.0.2.1,0,192.0.2.2,8.0,7,383") == [None]


@pytest.mark.parametrize(
    "lines",
    [
        ["{"],
        ["{" * 100_000],
        ['{"a":1}'],
        ['{"id.resp_h":"nobody","id.resp_p":1,"proto":"tcp"}'],
        ['{"id.resp_h":"192.0.2.1","id.resp_p":70000,"proto":"tcp"}'],
        ['{"id.resp_h":"192.0.2.1","id.resp_p":null,"proto":"tcp"}'],
        [*ZEEK, "1.5\t192.0.2.9"],
        [*ZEEK, "later\t192.0.2.9\t4242\t192.0.2.4\t443\ttcp\tssl\tShADad\tT"],
        [OLD, "2026-01-01,2026-01-01,0.1,192.0.2.9"],
        [OLD, "2026-01-01,2026-01-01,0.1,192.0.2.9,192.0.2.1,x,y,TCP,...AP.SF"],
        ["sa,da,pr", "192.0.2.1,192.0.2.2,TCP"],
    ],
)
def test_what_is_broken_says_so(lines: list[str]) -> None:
    with pytest.raises(MalformedError):
        records(*lines)


def test_other_lines_are_for_others() -> None:
    with pytest.raises(NotARecord):
        records("192.0.2.1:80")


@given(st.lists(st.one_of(st.text(), st.sampled_from([*ZEEK, OLD, NEW, "#fields", "#types\tport", r"#separator \x"]))))
def test_nothing_but_the_two_errors_comes_out(lines: list[str]) -> None:
    reader = FlowLines()
    for line in lines:
        with contextlib.suppress(MalformedError, NotARecord):
            reader.parse(line)
