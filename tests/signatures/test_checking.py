from pathlib import Path

import pytest

from flowsonar.signatures import Matcher, check, load_signatures
from flowsonar.signatures.engines import available
from tests.signatures.files import signatures, text


@pytest.mark.parametrize("engine", available())
def test_the_built_in_signatures_pass(engine: str, tmp_path: Path) -> None:
    loaded = load_signatures(cache=tmp_path)
    assert [str(problem) for problem in check(loaded, Matcher(loaded, cache=tmp_path, engine=engine))] == []


def test_every_built_in_service_names_its_sources() -> None:
    for signature in load_signatures().services.values():
        assert signature.references
        for example in signature.examples:
            assert example.source, f"{signature.path}:{example.line}"


GOOD = r"""
[[probe]]
name = "ask"
steps = [
    { send = 'A', expect = { pattern = '^(?P<version>\d)' } },
    { connection = "new", send = 'B', expect = { pattern = '^ok', differs-from = 0 } },
]
confidence = "likely"
product = "prog"
version = "{version}"
[[reply]]
name = "hi"
pattern = '^HI (?P<version>\d)'
confidence = "confirmed"
product = "prog"
version = "{version}"
"""
EXAMPLES = """
[[example]]
after = "listen"
bytes = 'HI 1'
product = "prog"
version = "1"
[[example]]
after = "listen"
bytes = 'HO 1'
matches = false
[[example]]
after = "ask"
replies = ['1', 'ok']
version = "1"
pattern = "ask"
"""


def problems(tmp_path: Path, body: str) -> list[str]:
    loaded = signatures(tmp_path, body)
    return [str(problem) for problem in check(loaded, Matcher(loaded, engine="re2"))]


def test_a_good_file(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD + EXAMPLES) == []


@pytest.mark.parametrize(
    ("examples", "what"),
    [
        ("[[example]]\nafter='listen'\nbytes='HO 1'", "does not match a pattern of its own service"),
        ("[[example]]\nafter='listen'\nbytes='HI 1'\nversion='2'", "gives version '1', not '2'"),
        ("[[example]]\nafter='listen'\nbytes='HI 1'\nproduct='x'", "gives product 'prog', not 'x'"),
        ("[[example]]\nafter='listen'\nbytes='HI 1'\nmatches=false", "near miss matches sample/hi"),
        ("[[example]]\nafter='listen'\nbytes='HI 1'\npattern='ask'", "does not match pattern ask"),
        ("[[example]]\nafter='ask'\nreplies=['1', 'no']\npattern='ask'", "does not match pattern ask"),
        ("[[example]]\nafter='ask'\nreplies=['ok', 'ok']\npattern='ask'", "does not match pattern ask"),
        ("[[example]]\nafter='ask'\nreplies=['1']\npattern='ask'", "does not match pattern ask"),
        ("[[example]]\nafter='listen'\nbytes='@RSYNCD: 31.0\\n'", "confirmed as rsync by rsync/greeting"),
        ("", "no [[example]] matches sample/hi"),
        ("", "no near miss"),
    ],
)
def test_problems_are_found(tmp_path: Path, examples: str, what: str) -> None:
    found = problems(tmp_path, GOOD + examples)
    assert any(what in problem for problem in found), found
    assert all(problem.startswith(str(tmp_path / "sample.toml")) for problem in found)


def test_problems_name_the_line(tmp_path: Path) -> None:
    body = GOOD + EXAMPLES + "[[example]]\nafter='listen'\nbytes='x'\n"
    (found,) = problems(tmp_path, body)
    line = int(found.split(":")[1])
    assert text(body).splitlines()[line - 1] == "[[example]]"
    assert text(body).splitlines()[line + 1] == "bytes='x'"


def test_a_greedy_new_signature_is_found(tmp_path: Path) -> None:
    greedy = "[[reply]]\nname='all'\npattern='^SSH-'\nconfidence='confirmed'\nspecificity=500\n"
    found = problems(tmp_path, greedy)
    assert any("ssh.toml" in problem and "confirmed as sample" in problem for problem in found)


@pytest.mark.parametrize(("more", "weak"), [("", True), ("specificity = 90\n", True), ("soft = true\n", True)])
def test_a_pattern_that_chance_would_meet_is_found(tmp_path: Path, more: str, weak: bool) -> None:
    body = "[[payload]]\nname='two'\ntransport='udp'\npattern='^\\xab[\\x00-\\x0f]'\nconfidence='likely'\n" + more
    found = problems(tmp_path, GOOD + EXAMPLES + body + "[[example]]\ntransport='udp'\nbytes='{hex:ab01}'\n")
    assert any("fixes 12 bits" in problem and "takes 20" in problem for problem in found) == weak


@pytest.mark.parametrize(("more", "weak"), [("", True), ("after = ['listen']\n", False), ("soft = true\n", False)])
def test_a_reply_to_anything_that_any_answer_would_meet_is_found(tmp_path: Path, more: str, weak: bool) -> None:
    body = "[[reply]]\nname='two'\npattern='^\\xab[\\x00-\\x0f]'\nconfidence='likely'\n" + more
    found = problems(tmp_path, GOOD + EXAMPLES + body + "[[example]]\nafter='listen'\nbytes='{hex:ab01}'\n")
    assert any("fixes 12 bits" in problem and "takes 16" in problem for problem in found) == weak


@pytest.mark.parametrize(
    ("pattern", "slow"),
    [
        ("^AB[0-9]{20}", False),
        ("(?m)^AB[0-9]{20}", False),
        ("(?m)^AB[0-9]{20}$", True),
        ("^AB[[:digit:]]{20}", True),
    ],
)
def test_a_pattern_that_only_python_could_match_is_found(tmp_path: Path, pattern: str, slow: bool) -> None:
    body = f"[[payload]]\nname='two'\ntransport='tcp'\npattern='{pattern}'\nconfidence='likely'\n"
    found = problems(tmp_path, GOOD + EXAMPLES + body + "[[example]]\ntransport='tcp'\nbytes='AB'\n")
    assert any("cannot be matched in C" in problem for problem in found) == slow
