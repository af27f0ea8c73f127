from lab.catalogue.__main__ import main
from lab.catalogue.entry import version_of

from lab.catalogue import QUICK, families

ENTRIES = [entry for programs in families().values() for entry in programs]


def test_every_name_is_there_once() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(names) == len(set(names))
    assert set(names) >= QUICK


def test_wrong_names_are_wrong_usage() -> None:
    assert main(["--only", "no-such-program"]) == 2
    assert main(["--family", "no-such-family"]) == 2
    assert main(["--list"]) == 0


def test_a_program_that_is_not_there_has_no_version() -> None:
    assert version_of(["no-such-program-anywhere"]) is None
    assert version_of(["sh", "-c", "echo Server version 1.2.3"]) == "1.2.3"
