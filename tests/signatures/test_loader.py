from pathlib import Path

import pytest

from flowsonar.errors import SignatureError
from flowsonar.model import TrafficClass, Transport
from flowsonar.signatures import load_signatures, loader, parsing
from flowsonar.signatures.loader import FILE_BYTES, identify
from tests.signatures.files import signatures, text


def test_built_in_services(tmp_path: Path) -> None:
    found = load_signatures(cache=tmp_path)
    assert {"http", "tls", "ftp", "skype", "ssh", "smtp", "pop3", "imap", "dns", "rtsp", "sip", "redis", "echo"} <= set(
        found.services
    )
    assert found.traffic_class("skype") is TrafficClass.REALTIME
    assert found.traffic_class("nobody") is TrafficClass.DEFAULT
    assert found.by_port(Transport.TCP, 21) == ("ftp",)
    assert found.by_port(Transport.TCP, 990) == ("ftp", "tls")
    assert found.by_port(Transport.UDP, 1) == ()
    assert found.by_alpn("h2") == ("http",)
    assert found.by_alpn("none") == ()
    probes = found.probes(Transport.TCP)
    assert [probe.rarity for probe in probes] == sorted(probe.rarity for probe in probes)
    assert {probe.transport for probe in found.probes(Transport.UDP)} == {Transport.UDP}
    assert found.probe("http/get") in probes
    assert found.probe("http/nothing") is None


def test_the_second_load_reads_the_cache_and_is_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_signatures(cache=tmp_path)

    def refuse(*_: object) -> tuple[object, ...]:
        raise AssertionError("parsed again")

    monkeypatch.setattr(parsing, "parse_groups", refuse)
    second = load_signatures(cache=tmp_path)
    assert dict(second.services) == dict(first.services)


def test_a_broken_cache_is_made_anew(tmp_path: Path) -> None:
    load_signatures(cache=tmp_path)
    (file,) = tmp_path.glob("signatures-*")
    file.write_bytes(b"nonsense")
    assert len(load_signatures(cache=tmp_path)) > 10
    assert file.read_bytes() != b"nonsense"


def test_the_identity_is_known_without_reading_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sample.toml").write_text(text(""), encoding="utf-8")
    first = load_signatures([own], cache=tmp_path)
    read = loader._read_folder

    def only_own(path: Path) -> list[loader.Text]:
        assert path == own
        return read(path)

    monkeypatch.setattr(loader, "_read_folder", only_own)
    assert identify([own], cache=tmp_path) == first.digest
    (own / "sample.toml").write_text(text("# changed\n"), encoding="utf-8")
    assert identify([own], cache=tmp_path) != first.digest


def test_an_unwritable_cache_is_no_error() -> None:
    assert len(load_signatures(cache=Path("/proc/none"))) > 10


def test_more_files_are_added_and_replace(tmp_path: Path) -> None:
    assert "sample" in signatures(tmp_path, "").services
    (tmp_path / "sample.toml").write_text(text("", "ftp"), encoding="utf-8")
    replaced = load_signatures([tmp_path], cache=tmp_path / "cache")
    assert replaced.services["ftp"].title == "A service for tests"
    single = load_signatures([tmp_path / "sample.toml"], cache=tmp_path / "cache")
    assert single.services["ftp"].title == "A service for tests"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"service = ", r"bad\.toml:1: not TOML: "),
        (b'title = "x"\n[[reply]\n', r"bad\.toml:2: not TOML: "),
        (b'title = "x"\n\xff\n', r"bad\.toml:2: not UTF-8"),
        (b"a = " + b"[" * 5000, r"bad\.toml:1: not TOML"),
        (b"a = " + b"9" * 5000, r"bad\.toml:1: not TOML"),
        (b"#" * (FILE_BYTES + 1), "more than"),
        (b"", r"bad\.toml:1: service is missing"),
        (b"service = 2020-01-01", r"bad\.toml:1: service: a string"),
        (
            text("[[example]]\nafter = 'hullo'\nbytes = 'x'").encode(),
            r"bad\.toml:6: after = 'sample/hullo': there is no",
        ),
        (
            text("[[reply]]\nname='r'\nafter='http/got'\nlength=1\nconfidence='guess'").encode(),
            r"bad\.toml:7: after = 'http/got'",
        ),
    ],
    ids=range(10),
)
def test_a_bad_file_gives_one_line(tmp_path: Path, content: bytes, error: str) -> None:
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(SignatureError, match=error) as caught:
        load_signatures([tmp_path], cache=tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_one_service_twice_in_one_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(text(""), encoding="utf-8")
    with pytest.raises(SignatureError, match=r"b\.toml:1: service 'sample' is also in .*a\.toml"):
        load_signatures([tmp_path], cache=tmp_path / "cache")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match=r"none\.toml: cannot be read"):
        load_signatures([tmp_path / "none.toml"], cache=tmp_path / "cache")


def test_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_bytes(text("").replace("\n", "\r\n").encode())
    assert "sample" in load_signatures([tmp_path], cache=tmp_path / "cache").services
