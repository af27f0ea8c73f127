from pathlib import Path

import pytest

from flowsonar.app.parts import Parts
from flowsonar.config import Settings
from flowsonar.errors import SignatureError


def test_a_wrong_signature_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("service = \n")
    with pytest.raises(SignatureError, match=r"broken\.toml:1"):
        Parts.load(Settings(signatures=(tmp_path,)))


def test_readers_share_signatures_but_not_memory() -> None:
    parts = Parts.load(Settings())
    assert parts.new_reader() is not parts.new_reader()
    assert "http" in parts.signatures.services
