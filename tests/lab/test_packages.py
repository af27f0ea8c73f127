"""The list of packages."""

from pathlib import Path

from lab.packages import missing, parse

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
