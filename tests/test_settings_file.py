import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar.config import BudgetSettings, FlowSettings, ScopeSettings, Settings
from flowsonar.errors import ConfigError
from flowsonar.settings_file import known_keys, load_settings, settings_of

DOCUMENT = (Path(__file__).resolve().parents[1] / "docs" / "configuration.md").read_text(encoding="utf-8")


def load(tmp_path, text):
    path = tmp_path / "flowsonar.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_settings(path)


def test_everything_can_be_set(tmp_path):
    settings = load(
        tmp_path,
        """
        store = "state/verdicts.db"
        signatures = ["mine", "/srv/theirs"]
        recog = "recog"
        passive = true
        dry_run = true
        [scope]
        allow = ["203.0.113.0/24"]
        only = ["10.0.0.0/8"]
        exclude = [":9100", "10.0.0.1"]
        own_addresses = ["198.51.100.7"]
        [budget]
        rate = 50
        burst = 60
        max_probes = 3
        timeout_s = 1.5
        [flows]
        capacity = 1024
        idle_timeout_s = 10
        """,
    )
    assert settings == Settings(
        store=tmp_path / "state" / "verdicts.db",
        signatures=(tmp_path / "mine", Path("/srv/theirs")),
        recog=tmp_path / "recog",
        passive=True,
        dry_run=True,
        scope=ScopeSettings(
            allow=("203.0.113.0/24",),
            only=("10.0.0.0/8",),
            exclude=(":9100", "10.0.0.1"),
            own_addresses=("198.51.100.7",),
        ),
        budget=BudgetSettings(rate=50.0, burst=60, max_probes=3, timeout_s=1.5),
        flows=FlowSettings(capacity=1024, idle_timeout_s=10.0),
    )
    assert isinstance(settings.budget.rate, float)


def test_an_empty_file_is_the_defaults(tmp_path):
    assert load(tmp_path, "") == Settings()


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert load(tmp_path, 'store = "~/v.db"').store == Path("/home/someone/v.db")


WRONG = [
    ("unknown key", "[budget]\nrat = 1", "budget.rat: no such setting: did you mean budget.rate?"),
    ("unknown table", "[budgets]\nrate = 1", "budgets: no such setting: did you mean budget?"),
    ("unknown altogether", "zzzzzz = 1", "zzzzzz: no such setting: docs/configuration.md"),
    ("at the wrong place", "rate = 1", "rate: no such setting: rate belongs into [budget]"),
    ("in the wrong table", "[scope]\npassive = true", "passive belongs above every [table]"),
    ("not a table", "budget = 1", "budget: must be a table"),
    ("not a list", '[scope]\nallow = "10.0.0.0/8"', "scope.allow: must be a list"),
    ("list of the wrong", "[scope]\nallow = [1]", "scope.allow: must be text"),
    ("not a number", '[budget]\nrate = "fast"', "budget.rate: must be a number"),
    ("not whole", "[budget]\nburst = 1.5", "budget.burst: must be a whole number"),
    ("true is no number", "[budget]\nburst = true", "budget.burst: must be a whole number"),
    ("zero", "[budget]\nrate = 0", "budget.rate: must be greater than 0"),
    ("negative", "[flows]\nidle_timeout_s = -1", "flows.idle_timeout_s: must be greater than 0"),
    ("nan", "[budget]\nrate = nan", "budget.rate: must be greater than 0"),
    ("infinite", "[budget]\nrate = inf", "budget.rate: must be greater than 0"),
    ("huge", f"[flows]\ncapacity = {1 << 63}", "flows.capacity: must be greater than 0, and finite"),
    ("not a path", "store = 1", "store: must be a path"),
    ("empty path", 'store = ""', "store: must be a path"),
    ("one is not true", "passive = 1", "passive: must be true or false"),
    ("a date", "[budget]\nrate = 2020-01-01", "budget.rate: must be a number"),
    ("not TOML", "[[[", "not TOML"),
    ("not text", b"\xff\xfe", "not TOML"),
    ("too large", b"#" * ((1 << 20) + 1), "larger than 1 MiB"),
    ("key that steers terminals", '"\\u001b[2J" = 1', "no such setting"),
]


@pytest.mark.parametrize(("text", "says"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_refused_with_file_and_key(tmp_path, text, says):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "flowsonar.toml"))
    assert says in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("make", [lambda path: path, lambda path: path.parent])
def test_a_file_that_cannot_be_read(tmp_path, make):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(make(tmp_path / "nowhere.toml"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["rate", "allow", "x"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["scope", "budget", "flows", "store", "signatures", "passive", "zz"]), VALUES))
def test_any_table_gives_settings_or_a_clear_error(table):
    try:
        assert isinstance(settings_of(table, "here", Path("/")), Settings)
    except ConfigError as error:
        assert str(error).startswith("here: ")  # noqa: PT017 - either outcome is right


# -- the document -----------------------------------------------------------------------------------------------


def value_of(settings, key):
    for part in key.split("."):
        settings = getattr(settings, part)
    return settings


def test_known_keys_are_all():
    leaves = 0
    groups = [Settings()]
    while groups:
        for item in fields(groups.pop()):
            value = value_of(Settings(), item.name) if hasattr(Settings(), item.name) else None
            if is_dataclass(value):
                groups.append(value)
            else:
                leaves += 1
    assert len(known_keys()) == leaves


@pytest.mark.parametrize("key", known_keys())
def test_every_setting_has_its_paragraph_with_its_default(key):
    section = re.search(rf"^### `{re.escape(key)}`\n\n(.+?)(?=^##|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert section, f"docs/configuration.md: no paragraph `### `{key}``"
    default = value_of(Settings(), key)
    shown = {None: "none", (): "[]"}.get(default, f"{default:g}" if isinstance(default, float) else str(default))
    if isinstance(default, bool):
        shown = "true" if default else "false"
    assert f"Default: `{shown}`" in section[1], f"{key}: its default is {shown}"
    assert len(section[1].split()) > 8, f"{key}: say what it does"


def test_the_document_names_no_setting_that_is_not_there():
    assert re.findall(r"^### `(.+)`$", DOCUMENT, re.MULTILINE) == known_keys()


def test_the_example_of_the_document_is_valid(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    assert load(tmp_path, example) != Settings()
