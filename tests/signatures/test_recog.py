from pathlib import Path

import pytest

from flowsonar.errors import SignatureError
from flowsonar.signatures.recog import read_recog

GOOD = """<?xml version="1.0"?>
<fingerprints matches="ssh.banner" protocol="ssh">
  <!-- a comment -->
  <fingerprint pattern="^Sample_(\\d+)$" flags="REG_ICASE">
    <description>A sample
      server</description>
    <example service.version="1">Sample_1</example>
    <example _encoding="base64" service.version="2">c2FtcGxlXzI=</example>
    <example _filename="elsewhere"/>
    <param pos="0" name="service.product" value="Sample"/>
    <param pos="1" name="service.version"/>
  </fingerprint>
  <fingerprint pattern="^(.)\\1$"><description>no words</description></fingerprint>
</fingerprints>
"""


def write(folder: Path, content: str | bytes) -> Path:
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "some.xml").write_bytes(data)
    return folder


def test_a_database(tmp_path: Path) -> None:
    (first, second) = read_recog(write(tmp_path, GOOD))["ssh.banner"]
    assert (first.pattern, first.description, first.line) == ("(?mi)^Sample_(\\d+)$", "A sample server", 4)
    assert [(one.data, one.expected) for one in first.examples] == [
        (b"Sample_1", (("service.version", "1"),)),
        (b"sample_2", (("service.version", "2"),)),
    ]
    assert first.params == [(0, "service.product", "Sample"), (1, "service.version", "")]
    assert second.pattern == ""


def test_the_folder_above_and_a_key_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "xml").mkdir()
    write(tmp_path / "xml", GOOD.replace('matches="ssh.banner" ', ""))
    assert set(read_recog(tmp_path)) == {"some"}


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><fingerprints><x>&b;</x></fingerprints>'


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (BOMB, r"some\.xml:1: a DOCTYPE"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><fingerprints/>', r"some\.xml:1: a DOCTYPE"),
        ("<fingerprints>", r"some\.xml:1: not XML: no element found"),
        (b"\xff\xfe\x00", r"some\.xml:1: not XML"),
        ("<rss/>", r"some\.xml:1: <rss> where <fingerprints> should be"),
        (GOOD.replace('pattern="^Sample_(\\d+)$"', ""), r"some\.xml:4: a fingerprint without pattern"),
        (GOOD.replace('pos="1"', 'pos="one"'), r"some\.xml:11: a param needs pos"),
        (GOOD.replace("c2FtcGxlXzI=", "c2FtcG*xlXzI"), r"some\.xml:8: an example that is not base64"),
        ("<fingerprints><fingerprint pattern='a'><x><y/></x></fingerprint></fingerprints>", "too deep"),
        (f"<fingerprints><fingerprint pattern='{'a' * 70000}'/></fingerprints>", "not recog's"),
        (f"<fingerprints><fingerprint pattern='a'><description>{'a' * 70000}</description>", "not recog's"),
        (b" " * ((16 << 20) + 1), r"some\.xml:1: more than"),
    ],
    ids=range(12),
)
def test_a_bad_file_gives_one_line(tmp_path: Path, content: str | bytes, error: str) -> None:
    with pytest.raises(SignatureError, match=error) as caught:
        read_recog(write(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_folder_without_files(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match=r"no \*\.xml here"):
        read_recog(tmp_path)
    (tmp_path / "some.xml").mkdir()
    with pytest.raises(SignatureError, match="cannot be read"):
        read_recog(tmp_path)
