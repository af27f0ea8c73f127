"""Command lines: what a command's function says of its parameters, made a parser of the standard library's.

A parameter is `Annotated[type, Option(...)]` or `Annotated[type, Argument(...)]`; its type and default say the rest.
Nothing of a command is imported before it is the one that runs.
"""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, NoReturn, TextIO, Union, get_args, get_origin, get_type_hints

__all__ = ["Argument", "Command", "Group", "Option", "Parameter", "invoke", "parameters"]

HELP: Final = ("-h", "--help")
USAGE: Final = 2
"""Exit code of wrong usage."""
_COLUMNS_MAX: Final = 100
_UNIONS: Final = (Union, types.UnionType)


class Argument(NamedTuple):
    """A word that is no option."""

    metavar: str | None = None
    help: str = ""


class Option:
    """An option by its names: `Option("-o", "--output", metavar="FILE", help=...)`."""

    __slots__ = ("count", "help", "metavar", "min", "names")

    def __init__(
        self,
        *names: str,
        metavar: str | None = None,
        help: str = "",  # noqa: A002 - called as argparse calls it
        min: float | None = None,  # noqa: A002
        count: bool = False,
    ) -> None:
        """`min`: the least number; `count`: it may be given again and again, and how often is its value."""
        self.names, self.metavar, self.help, self.min, self.count = names, metavar, help, min, count


class Command(NamedTuple):
    """One command, known before its module is imported."""

    target: str
    """`module:function`; the function's result is the exit code."""
    summary: str
    """The first line of its docstring."""
    example: str

    def function(self) -> Callable[..., int]:
        """Import it."""
        import importlib

        module, _, name = self.target.partition(":")
        found: Callable[..., int] = getattr(importlib.import_module(module), name)
        return found


class Group(NamedTuple):
    """Commands under one name."""

    summary: str
    commands: Mapping[str, Command | Group]
    epilog: str = ""


class Parameter(NamedTuple):
    """One parameter of a command's function."""

    name: str
    kind: Any
    """The type of one value."""
    several: bool
    required: bool
    default: Any
    given: Option | Argument


def parameters(function: Callable[..., int]) -> list[Parameter]:
    """What a command takes, in the order of its parameters."""
    plain = getattr(function, "__wrapped__", function)
    code = plain.__code__
    names = code.co_varnames[: code.co_argcount]
    defaults = plain.__defaults__ or ()
    least = len(names) - len(defaults)
    hints = get_type_hints(plain, include_extras=True)
    found = []
    for number, name in enumerate(names):
        kind, given = get_args(hints[name])[:2]
        assert isinstance(given, Option | Argument), name
        kind, several = _inner(kind)
        default = defaults[number - least] if number >= least else None
        found.append(Parameter(name, kind, several, number < least, default, given))
    return found


def _inner(kind: Any) -> tuple[Any, bool]:
    """The type of one value, and whether there may be several of them."""
    if get_origin(kind) in _UNIONS:
        (kind,) = (one for one in get_args(kind) if one is not types.NoneType)
    if get_origin(kind) is list:
        return get_args(kind)[0], True
    return kind, False


def invoke(root: Group, words: Sequence[str], program: str, *, version: Callable[[], str]) -> int:
    """Run the command that the words name; the exit code. Wrong usage says so on standard error."""
    name = program
    at: Command | Group = root
    rest = list(words)
    while isinstance(at, Group):
        if not rest:
            _write(_listing(at, name, root=at is root), sys.stderr)
            return USAGE
        word = rest.pop(0)
        if word in HELP:
            _write(_listing(at, name, root=at is root), sys.stdout)
            return 0
        if word == "--version" and at is root:
            _write(f"{program} {version()}\n", sys.stdout)
            return 0
        if word not in at.commands:
            what = "option" if word.startswith("-") else "command"
            _write(f"Usage: {name} [OPTIONS] COMMAND [ARGS]...\nTry '{name} -h' for help.\n\n", sys.stderr)
            _write(f"Error: No such {what} {word!r}{_near(word, at)}\n", sys.stderr)
            return USAGE
        name, at = f"{name} {word}", at.commands[word]
    function = at.function()
    taken = parameters(function)
    parser = _parser(name, at, function, taken, shown=not set(HELP).isdisjoint(rest))
    given = parser.parse_intermixed_args(rest)
    values = vars(given)
    for one in taken:
        if one.several and one.required and not values[one.name]:
            parser.error(f"Missing argument '{one.given.metavar or one.name.upper()}'")
    return function(**values)


def _near(word: str, group: Group) -> str:
    import difflib

    near = difflib.get_close_matches(word, list(group.commands), n=1)
    return f": did you mean {near[0]!r}?" if near else "."


class _Parser(argparse.ArgumentParser):
    """Messages as the other commands of this program have them."""

    def error(self, message: str) -> NoReturn:
        _write(f"{self.format_usage()}Try '{self.prog} -h' for help.\n\nError: {message}\n", sys.stderr)
        raise SystemExit(USAGE)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        # One is made for each argument: what does not write for people is spared the look at their terminal.
        super().__init__(prog, max_help_position=32, width=_COLUMNS_MAX)

    def format_help(self) -> str:
        self._width = _width()
        return super().format_help()

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, "Usage: " if prefix is None else prefix)


def _parser(
    name: str, command: Command, function: Callable[..., int], taken: list[Parameter], *, shown: bool
) -> _Parser:
    """`shown`: its help is."""
    words = [_shown(one) for one in taken if isinstance(one.given, Argument)]
    parser = _Parser(
        prog=name,
        usage=" ".join((name.replace("%", "%%"), "[OPTIONS]", *words)),
        description=_paragraphs(function.__doc__ or "") if shown else None,
        epilog=f"Example: {command.example}",
        formatter_class=_Formatter,
        allow_abbrev=False,
        add_help=False,
    )
    arguments, options = parser.add_argument_group("Arguments"), parser.add_argument_group("Options")
    for one in taken:
        if isinstance(one.given, Argument):
            _add_argument(arguments, one, one.given)
        else:
            _add_option(options, one, one.given)
    options.add_argument(*HELP, action="help", help="Show this message and exit.")
    return parser


def _shown(one: Parameter) -> str:
    word = one.given.metavar or one.name.upper()
    if word.startswith("["):
        return word
    word = f"{word}..." if one.several and not word.endswith("...") else word
    return word if one.required else f"[{word}]"


def _add_argument(group: Any, one: Parameter, given: Argument) -> None:
    several: dict[str, Any] = {}
    if one.several:
        several = {"nargs": "*"}
    elif not one.required:
        several = {"nargs": "?", "default": one.default}
    shown = given.metavar or one.name.upper()
    shown = (shown[1:-1] if shown.startswith("[") else shown).removesuffix("...")
    group.add_argument(one.name, metavar=shown, type=_reader(one), help=_text(given.help), **several)


def _add_option(group: Any, one: Parameter, given: Option) -> None:
    common: dict[str, Any] = {"dest": one.name, "default": one.default, "help": _text(given.help)}
    if given.count:
        group.add_argument(*given.names, action="count", **common)
    elif one.kind is bool:
        group.add_argument(*given.names, action="store_true", **common)
    else:
        shown = given.metavar
        if shown is None:
            shown = "|".join(one.kind) if _is_closed(one.kind) else one.kind.__name__.upper()
        action = "append" if one.several else "store"
        group.add_argument(*given.names, action=action, metavar=shown, type=_reader(one), **common)


def _reader(one: Parameter) -> Callable[[str], Any]:
    """What makes a value of a word; its errors are one line."""
    least = one.given.min if isinstance(one.given, Option) else None

    def read(word: str) -> Any:
        try:
            value = one.kind(word)
        except ValueError:
            wanted = f"one of {', '.join(one.kind)}" if _is_closed(one.kind) else _NAMES.get(one.kind, "a value")
            raise argparse.ArgumentTypeError(f"{word!r} is not {wanted}") from None
        if least is not None and not value >= least:
            raise argparse.ArgumentTypeError(f"{word} is less than {least:g}")
        return value

    return read


_NAMES: Final = {int: "a whole number", float: "a number"}


def _is_closed(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)


def _text(text: str) -> str:
    """For argparse, which fills in what stands after a percent sign."""
    return text.replace("%", "%%")


def _paragraphs(text: str) -> str:
    """Docstring to text of the screen's width."""
    import textwrap

    parts = [" ".join(part.split()) for part in text.split("\n\n")]
    return _text("\n\n".join(textwrap.fill(part, _width(), break_on_hyphens=False) for part in parts if part))


def _width() -> int:
    import shutil

    return min(shutil.get_terminal_size().columns - 2, _COLUMNS_MAX)


def _listing(group: Group, name: str, *, root: bool) -> str:
    """The help of a group: its commands, a line each."""
    options = [("--version", "Print the version and exit.")] if root else []
    options.append((", ".join(HELP), "Show this message and exit."))
    commands = [(key, one.summary) for key, one in group.commands.items()]
    lines = [f"Usage: {name} [OPTIONS] COMMAND [ARGS]...", "", *_paragraphs(group.summary).splitlines(), "", "Options:"]
    lines += _columns(options)
    lines += ["", "Commands:", *_columns(commands)]
    if group.epilog:
        lines += ["", group.epilog]
    return "\n".join(lines) + "\n"


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    import textwrap

    first = max(len(left) for left, _ in rows) + 2
    lines = []
    for left, right in rows:
        filled = textwrap.wrap(right, max(_width() - first - 2, 24)) or [""]
        lines.append(f"  {left:<{first}}{filled[0]}")
        lines += [" " * (first + 2) + more for more in filled[1:]]
    return lines


def _write(text: str, stream: TextIO) -> None:
    stream.write(text)
