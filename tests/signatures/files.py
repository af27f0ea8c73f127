"""Small signature files for tests."""

from pathlib import Path

from flowsonar.signatures import SignatureSet, load_signatures
from flowsonar.signatures.loader import BUILT_IN
from flowsonar.signatures.source import File
from flowsonar.signatures.tables import read_signature

HEAD = """service = "{service}"
title = "A service for tests"
class = "default"
references = ["none"]
"""


def text(body: str, service: str = "sample") -> str:
    return HEAD.format(service=service) + body


def signatures(tmp_path: Path, *bodies: str) -> SignatureSet:
    """The built-in set with one more file for each body."""
    for index, body in enumerate(bodies):
        name = "sample" if not index else f"sample{index}"
        (tmp_path / f"{name}.toml").write_text(text(body, name), encoding="utf-8")
    return load_signatures([tmp_path], cache=tmp_path / "cache")


__all__ = ["BUILT_IN", "File", "read_signature", "signatures", "text"]
