from pathlib import Path

import pytest

from flowsonar.errors import SignatureError
from tests.signatures.files import signatures

PROBE = "[[probe]]\nname = 'ask'\n"
REPLY = "[[reply]]\nname = 'said'\nconfidence = 'likely'\n"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("parent = 'htp'\n", r"sample\.toml:5: parent = 'htp': there is no such service"),
        ("parent = 'sample'\n", r"sample\.toml:5: parent = 'sample': it would be inside itself"),
        (PROBE + "send = '{nonsense}'\n", r"sample\.toml:7: send: \{nonsense\} is not known here: give it a size"),
        (PROBE + "send = 'A{idd}{id:4}'\n", r"sample\.toml:7: send: \{idd\}"),
        (
            PROBE
            + "steps = [\n{ send = '{id:2}', expect = { pattern = '^(?P<salt>.)' } },\n{ send = '{sallt}' },\n]\n",
            r"\{sallt\} is not known here: .* \(known: id, salt\)",
        ),
        (
            PROBE + "send = '{id:2}'\nreply.fields = [{ at = 0, echo = 'ident' }]\n",
            r"sample\.toml:8: echo = 'ident': nothing we send has that name \(known: id\)",
        ),
        (REPLY + "contains = ['branch-of-nobody']\n", r"sample\.toml:8: contains = 'branch-of-nobody'"),
        (
            REPLY + "pattern = '^a(?P<v>.)'\nproduct = 'x'\nversion = '{w}'\n",
            r"sample\.toml:10: version: \{w\} is no group of the pattern: write \(\?P<w>\.\.\.\) in it \(known: v\)",
        ),
        (REPLY + "pattern = '^a'\ndetail = 'says {what}'\n", r"sample\.toml:9: detail: \{what\} is no group"),
        (
            "[[product]]\npattern = 'x'\nproduct = 'p'\ncpe = 'a:{vendor}:p'\n",
            r"cpe: \{vendor\} is no group",
        ),
        (
            "[[payload]]\nname = 'p'\npattern = '^x'\nconfidence = 'guess'\nversion = '{v}'\n",
            r"version: \{v\} is no group",
        ),
        ("[foreign]\n'http/got' = 'closes'\n", r"sample\.toml:6: 'http/got': there is no such probe"),
        ("[starttls]\nsteps = [{ send = 'TLS {who}' }]\n", r"sample\.toml:6: send: \{who\} is not known here"),
    ],
    ids=range(13),
)
def test_names_that_nothing_gives(tmp_path: Path, body: str, error: str) -> None:
    with pytest.raises(SignatureError, match=error) as caught:
        signatures(tmp_path, body)
    assert "\n" not in str(caught.value)


def test_names_that_something_gives(tmp_path: Path) -> None:
    body = r"""
[starttls]
steps = [{ send = 'TLS {name:4}', expect = { pattern = '^ok (?P<token>\d)' } }]
[[probe]]
name = "inside"
starttls = true
steps = [
    { send = '{token}{name}{target.host}{random:2}', expect = { fields = [{ at = 0, capture = "salt", size = 4 }] } },
    { send = '{salt}', expect = { contains = ["salt"], fields = [{ at = 0, echo = "prober.address" }] } },
]
confidence = "likely"
product = "p"
version = "{token}"
[[reply]]
name = "echoed"
after = "inside"
fields = [{ at = 0, echo = "salt" }]
confidence = "likely"
detail = "no group here"
"""
    assert "sample" in signatures(tmp_path, body).services


def test_parents_may_not_go_round(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match=r"parent = '(?:sample|sample1)': it would be inside itself"):
        signatures(tmp_path, "parent = 'sample1'\n", "parent = 'sample'\n")


def test_ancestors_nearest_first(tmp_path: Path) -> None:
    found = signatures(tmp_path, "parent = 'sample1'\n", "parent = 'http'\n")
    assert found.ancestors("sample") == ("sample1", "http")
    assert found.ancestors("http") == ()
    assert found.parents == {"sample": "sample1", "sample1": "http"} | {
        name: one.parent for name, one in found.services.items() if one.parent and not name.startswith("sample")
    }
