"""The documents name every command, option and service, and no link in them is dead."""

import re
from pathlib import Path

import pytest

from flowsonar.cli import COMMANDS
from flowsonar.cli.arguments import Command, Group, Option, parameters
from flowsonar.signatures import load_signatures
from flowsonar.signatures.page import render_page

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("lab/*.md")]
DOCUMENTED = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def commands(group: Command | Group, name: str = "") -> list[tuple[str, Command]]:
    if isinstance(group, Group):
        return [found for key, sub in group.commands.items() for found in commands(sub, f"{name} {key}".strip())]
    return [(name, group)]


ALL = commands(COMMANDS)


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_every_command_and_option_is_documented(name: str, command: Command) -> None:
    section = DOCUMENTED.split(f"\n## `flowsonar {name}`", 1)
    assert len(section) == 2, f"docs/commands.md has no section for {name}"
    text = section[1].split("\n## ", 1)[0]
    for parameter in parameters(command.function()):
        if isinstance(parameter.given, Option):
            assert f"`{parameter.given.names[-1]}" in text, f"{name} {parameter.given.names[-1]}"


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_every_command_has_help_with_an_example(name: str, command: Command) -> None:
    first, *_ = (command.function().__doc__ or "").split("\n")
    assert command.summary == first, "the listing and the docstring say the same"
    assert command.example.startswith(f"flowsonar {name}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_page_of_services_is_made_from_the_files() -> None:
    page = (ROOT / "docs" / "services.md").read_text(encoding="utf-8")
    assert page == render_page(load_signatures()), "run: flowsonar signatures list --markdown > docs/services.md"
