"""The list of packages."""

import shutil
from pathlib import Path

import pytest
from lab.packages import absent, missing, parse, unpacked

LIST = Path(__file__).parents[2] / "lab" / "packages.txt"


def test_lines_are_package_and_sign() -> None:
    assert parse("# a comment\n\nbind9 # named\ncurl\nx # /usr/lib/x\n") == [
        ("bind9", "named"),
        ("curl", "curl"),
        ("x", "/usr/lib/x"),
    ]


def test_what_is_not_there_is_missing() -> None:
    assert missing([("a", "no-such-program-anywhere"), ("b", "/"), ("c", "/no/such/file")]) == ["a", "c"]


def test_the_list_names_each_package_once_as_debian_does() -> None:
    names = [package for package, _ in parse(LIST.read_text())]
    assert len(names) == len(set(names))
    assert all(name == name.lower() and " " not in name for name in names)


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="not Debian")
def test_a_package_that_is_not_installed_is_absent() -> None:
    assert absent(["dpkg", "no-such-package-anywhere"]) == ["no-such-package-anywhere"]


def test_unpacked_packages_have_a_folder_each() -> None:
    assert unpacked("a") != unpacked("b")


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="not Debian")
def test_of_packages_that_displace_each_other_one_will_do() -> None:
    assert absent(["no-such-package | dpkg"]) == []
    assert absent(["no-such-package | nor-this-one"]) == ["no-such-package"]
