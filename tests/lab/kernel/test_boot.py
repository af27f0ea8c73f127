import subprocess
from pathlib import Path

import pytest
from lab.kernel.boot import archive, newest
from lab.programs import LabError

from tests.needs import needs_program


@needs_program("busybox")
def test_the_archive_is_one_that_cpio_reads(tmp_path: Path) -> None:
    made = archive({"bin": (0o040755, b""), "bin/hello": (0o100755, b"hello"), "odd": (0o100644, b"x" * 7)})
    assert made.startswith(b"070701")
    assert len(made) % 4 == 0
    assert made.count(b"070701") == 4
    assert b"TRAILER!!!" in made
    subprocess.run(["busybox", "cpio", "-id"], input=made, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "bin" / "hello").read_bytes() == b"hello"
    assert (tmp_path / "odd").read_bytes() == b"x" * 7


def test_without_a_kernel_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz-0.0.0-1-amd64").write_bytes(b"")  # whose modules are not there
    with pytest.raises(LabError, match="apt-get install linux-image-amd64"):
        newest(tmp_path)
