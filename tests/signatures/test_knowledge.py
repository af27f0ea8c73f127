from pathlib import Path

import pytest

from flowsonar.model import Confidence, Side, Transport
from flowsonar.signatures import Matcher, Reply, load_signatures
from flowsonar.signatures.engines import available
from flowsonar.signatures.knowledge import Knowledge, Known, completed, params_of
from flowsonar.signatures.recog import Fingerprint, read_recog
from flowsonar.signatures.rules import Match
from tests.needs import CORPUS, needs_corpus

SSH = """<fingerprints matches="ssh.banner">
<fingerprint pattern="^Odd_(\\d+)(?:-(\\w+))?$"><description>Odd SSH</description>
  <param pos="0" name="service.vendor" value="Maker"/><param pos="0" name="service.product" value="OddSSH"/>
  <param pos="1" name="service.version"/>
  <param pos="0" name="service.cpe23" value="cpe:/a:maker:odd%2fssh:{service.version}"/>
  <param pos="0" name="_tmp.one" value="x"/></fingerprint>
<fingerprint pattern="^Thing$"><description>a thing</description>
  <param pos="0" name="hw.product" value="T"/></fingerprint>
<fingerprint pattern="^None$"><description>nothing</description><param pos="0" name="service.product" value="N"/>
  <param pos="0" name="service.certainty" value="0.0"/></fingerprint>
<fingerprint pattern="^Odd"><description>shadowed</description></fingerprint>
</fingerprints>"""
CPE = r"cpe:2.3:a:maker:odd\/ssh:12:*:*:*:*:*:*:*"


@pytest.fixture(params=available())
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    (tmp_path / "ssh.xml").write_text(SSH, encoding="utf-8")
    return tmp_path, request.param


def test_fields(folder: tuple[Path, str]) -> None:
    known = Knowledge.load(*folder)
    assert known.field("ssh.banner", b"Odd_12") == Known("Odd SSH", "OddSSH", "12", CPE)
    assert known.field("ssh.banner", b"Thing") == Known("a thing")
    assert known.field("ssh.banner", b"None") == Known("nothing")
    assert known.field("ssh.banner", b"other") is None
    assert known.field("ftp.banner", b"Odd_12") is None
    assert known.about("ssh", b"SSH-2.0-Odd_12\r\n") == known.field("ssh.banner", b"Odd_12")
    assert known.about("http", b"HTTP/1.1 200 OK\r\n\r\n") is None


def test_references_to_what_took_no_part() -> None:
    one = Fingerprint("", "", 1, "", [(2, "service.version", ""), (0, "service.cpe23", "cpe:/a:v:p:{service.version}")])
    assert params_of(one, [b"x", b"y", None]) == {"service.cpe23": "cpe:/a:v:p:-"}
    assert params_of(one, [b"x", b"y", b"3"])["service.cpe23"] == "cpe:/a:v:p:3"


def match(**values: str) -> Match:
    return Match("ssh", "ssh/banner", Confidence.CONFIRMED, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ours", "product", "version", "cpe"),
    [
        ({}, "OddSSH", "12", CPE),
        ({"product": "Maker OddSSH"}, "Maker OddSSH", "12", CPE),
        ({"product": "oddssh", "version": "12"}, "oddssh", "12", CPE),
        ({"product": "OddSSH", "version": "11"}, "OddSSH", "11", None),
        ({"product": "Other"}, "Other", None, None),
    ],
)
def test_only_what_is_open_is_filled_in(ours: dict[str, str], product: str, version: str, cpe: str) -> None:
    filled = completed(match(**ours), Known("Odd SSH", "OddSSH", "12", CPE))
    assert (filled.product, filled.version, filled.cpe) == (product, version, cpe)
    assert (filled.service, filled.confidence) == ("ssh", Confidence.CONFIRMED)


def test_the_matcher_names_what_a_server_says(folder: tuple[Path, str], tmp_path: Path) -> None:
    where, engine = folder
    matcher = Matcher(load_signatures(), cache=tmp_path / "cache", engine=engine, recog=where)
    data = b"SSH-2.0-Odd_12\r\n"
    reply = Reply(probe="listen", step=0, data=data, transport=Transport.TCP, sent={})
    for found in (matcher.reply(reply)[0], matcher.payload(Transport.TCP, Side.RESPONDER, data)[0]):
        assert (found.service, found.product, found.version, found.cpe) == ("ssh", "OddSSH", "12", CPE)
    assert matcher.payload(Transport.TCP, Side.INITIATOR, data)[0].product is None


@needs_corpus()
def test_every_example_of_recog_is_known_with_all_it_says() -> None:
    """The list of what a linear-time engine cannot say is empty today: `refused` would name it."""
    databases = read_recog(CORPUS / "recog")
    refused = [(key, one.line) for key, held in databases.items() for one in held if not one.pattern]
    assert refused == []
    knowledge = Knowledge(databases, "re2")
    count = 0
    for key, fingerprints in databases.items():
        database = knowledge.database(key)
        for fingerprint in fingerprints:
            for example in fingerprint.examples:
                found = database.first(example.data)
                assert found is not None, (key, fingerprint.line, example.data)
                assert found[0] is fingerprint, (key, fingerprint.line, example.data)
                params = params_of(*found)
                assert all(params.get(name) == value for name, value in example.expected), (key, fingerprint.line)
                count += 1
    assert count > 7000
