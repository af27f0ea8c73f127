"""Imports point one way: `model ← protocols ← {capture, flows, signatures} ← {passive, probes} ← verdicts ← ...`."""

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "flowsonar"

LAYERS = [
    {"limits", "model", "errors"},
    {"config"},
    {"_native", "settings_file"},
    {"protocols"},
    {"capture", "flows", "signatures"},
    {"passive", "probes"},
    {"verdicts"},
    {"shaping", "outputs"},
    {"app"},
    {"__init__"},
    {"cli", "demo"},
    {"__main__"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "flowsonar":
            found |= {alias.name if alias.name in LEVEL else "__init__" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("flowsonar."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("flowsonar.")}
    return found


def test_every_part_has_its_layer() -> None:
    assert {part_of(path) for path in SOURCE.rglob("*.py")} <= set(LEVEL)


def test_imports_point_down() -> None:
    wrong = []
    for path in SOURCE.rglob("*.py"):
        own = part_of(path)
        if own == "__init__":
            continue
        for other in imported(path) - {own}:
            # `flowsonar.__version__` may be read anywhere; the demo is started by its command
            if other == "__init__" or (own, other) == ("cli", "demo"):
                continue
            if LEVEL[other] >= LEVEL[own]:
                wrong.append(f"{path.relative_to(SOURCE)} imports {other}")
    assert not wrong


def test_only_some_modules_touch_sockets() -> None:
    """Sockets are opened for capture, probing, shaping and health alone; the rest takes bytes and `now`."""
    allowed = ("capture/", "probes/engine", "probes/routes", "shaping/", "app/", "demo/")
    wrong = []
    for path in SOURCE.rglob("*.py"):
        where = path.relative_to(SOURCE).as_posix()
        if where.startswith(allowed):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("create_connection", "create_datagram_endpoint"):
                wrong.append(where)
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("socket.socket", "socket"):
                wrong.append(where)
    assert not wrong
