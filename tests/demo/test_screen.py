import io
import json

from rich.console import Console

from flowsonar.demo.plan import Plan, Planned
from flowsonar.demo.results import Results
from flowsonar.demo.screen import JsonScreen, TextScreen, evidence_in_words

SSH = Planned(key="ssh", title="SSH on port 443", service="ssh", address="fd77:2::10", port=443)
RECORD = {
    "event_type": "verdict",
    "flow_id": 7,
    "proto": "TCP",
    "src_ip": "fd77:1::a",
    "src_port": 50000,
    "dest_ip": "fd77:2::10",
    "dest_port": 443,
    "flowsonar": {
        "service": "ssh",
        "over": None,
        "product": "AsyncSSH",
        "version": "2.24.1",
        "confidence": "confirmed",
        "verdict_ms": 3.14,
        "evidence": [
            {"kind": "payload", "detail": "SSH-2.0-AsyncSSH_2.24.1"},
            {"kind": "reply", "probe": "ssh/listen", "side": "responder", "detail": ""},
            {"kind": "reply", "probe": "skype/udp", "side": "initiator", "signature": "skype/nack"},
        ],
    },
}


def results(record=RECORD):
    all_of_it = Results(Plan((SSH,)))
    all_of_it.add(record)
    return all_of_it


def shown(use):
    console = Console(file=io.StringIO(), width=140, highlight=False, soft_wrap=True)
    use(TextScreen(console))
    return console.file.getvalue()


def test_evidence_in_words():
    assert evidence_in_words(RECORD) == [
        "the flow's own bytes: SSH-2.0-AsyncSSH_2.24.1",
        "answer to our probe ssh/listen",
        "answer to our probe skype/udp by the initiator: skype/nack",
    ]
    assert evidence_in_words({}) == []


def test_a_verdict_shows_flow_truth_label_and_evidence():
    text = shown(lambda screen: screen.verdict(results().flows[7]))
    for part in ("ssh", "confirmed", "truth ssh", "right", "3.1 ms", "[fd77:1::a]:50000 → [fd77:2::10]:443/tcp"):
        assert part in text
    assert "says it is AsyncSSH 2.24.1" in text
    assert "the flow's own bytes: SSH-2.0-AsyncSSH_2.24.1" in text


def test_markup_in_a_banner_is_only_text():
    record = {**RECORD, "flowsonar": {**RECORD["flowsonar"], "product": "[bold]x[/nothing]"}}
    assert "[bold]x[/nothing]" in shown(lambda screen: screen.verdict(results(record).flows[7]))


def test_control_characters_do_not_reach_the_terminal():
    record = {**RECORD, "flowsonar": {**RECORD["flowsonar"], "product": "a\x1b[2Jb"}}
    assert "\x1b" not in shown(lambda screen: screen.verdict(results(record).flows[7]))


def test_the_summary_counts():
    text = shown(lambda screen: screen.summary(results(), {("tcp", "fd77:2::10", 443): (1, 2)}, 9.0))
    assert "1 conn, 2 dgram" in text
    assert "1 of 1 right" in text
    empty = shown(lambda screen: screen.summary(Results(Plan((SSH,))), None, 9.0))
    assert "not seen" in empty
    assert "0 of 1 right" in empty


def test_json(capsys):
    screen = JsonScreen()
    screen.note("nothing")
    screen.problem("a problem")
    screen.verdict(results().flows[7])
    screen.summary(results(), None, 9.04)
    printed = capsys.readouterr()
    verdict, closing = map(json.loads, printed.out.splitlines())
    assert verdict["demo"]["judgement"] == "right"
    assert closing["demo"]["right"] is True
    assert closing["demo"]["services"][0]["truth"] == "ssh"
    assert printed.err == "flowsonar: a problem\n"
