"""Rules are made when they are asked for, once."""

from flowsonar.signatures import load_signatures, rulelist
from flowsonar.signatures.rulelist import Rules, WaitingRule

PATTERNS = [pattern for signature in load_signatures().services.values() for pattern in signature.payloads][:5]


def _rules() -> Rules:
    return Rules(WaitingRule(pattern, order) for order, pattern in enumerate(PATTERNS))


def test_a_list_of_rules_is_one_as_any_other() -> None:
    rules = _rules()
    assert len(rules) == len(PATTERNS)
    assert [rule.id for rule in rules] == [pattern.id for pattern in PATTERNS]
    assert rules[-1] is list(rules)[-1]
    assert [rule.id for rule in rules[1:3]] == [pattern.id for pattern in PATTERNS[1:3]]
    assert rules[0] in rules


def test_nothing_is_made_before_it_is_asked_for(monkeypatch) -> None:
    made = []
    monkeypatch.setattr(rulelist, "Rule", lambda *what: made.append(what) or object())
    rules = _rules()
    picked = rules.picked((3, 1))
    assert not made
    first = picked[0]
    assert len(made) == 1
    assert picked[0] is first is rules[3]
    assert len(made) == 1
    assert made[0][0] is PATTERNS[3]
    assert made[0][1] == 3
