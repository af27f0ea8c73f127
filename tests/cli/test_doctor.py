import json
from pathlib import Path

from tests.cli.program import flowsonar


def test_what_works_here(tmp_path: Path) -> None:
    result = flowsonar("doctor", "--json", home=tmp_path)
    findings = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"what", "state", "detail", "needed"} <= findings[0].keys()
    assert result.returncode == (1 if any(one["needed"] and one["state"] == "missing" for one in findings) else 0)
    assert b"packet path" in flowsonar("doctor", home=tmp_path).stdout
