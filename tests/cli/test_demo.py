from tests.cli.program import flowsonar


def test_help_says_what_it_does_and_needs() -> None:
    result = flowsonar("demo", "--help")
    assert b"needs no root" in b" ".join(result.stdout.lower().split())


def test_a_wrong_time_is_told() -> None:
    assert flowsonar("demo", "--seconds", "1").returncode == 2
