import io

from rich.console import Console

from flowsonar.outputs.classtable import ClassTable, render_classes
from flowsonar.outputs.marks import ClassRow

ROWS = [ClassRow("realtime", "", 2, 10, 2000, 64.4), ClassRow("bulk", "down", None, 5, 700, 9.6, 3, 1500, 12.34)]


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, height=10, highlight=False)


def printed(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


def test_the_table_has_marks_and_queues() -> None:
    target = console(False)
    target.print(render_classes(ROWS))
    lines = printed(target).splitlines()
    assert lines[0].split() == [
        "class",
        "way",
        "flows",
        "kbit/s",
        "packets",
        "bytes",
        "drops",
        "waiting",
        "delay",
        "ms",
    ]
    assert lines[1].split() == ["realtime", "marked", "2", "64", "10", "2000"]
    assert lines[2].split() == ["bulk", "down", "10", "5", "700", "3", "1500", "12.3"]


def test_without_a_terminal_a_mark_is_a_line(capsys: object) -> None:
    target = console(False)
    with ClassTable(target) as table:
        table.refresh(lambda: ROWS)
        table.summary(ROWS, {"class realtime": 2})
    assert "2  class realtime" in printed(target)


def test_on_a_terminal_it_is_drawn_in_place_now_and_then() -> None:
    target = console(True)
    now_s = 0.0
    asked = []
    with ClassTable(target, clock=lambda: now_s) as table:
        for step in (0.0, 0.1, 0.2, 0.6):
            now_s = step
            table.say(f"mark {step}")
            table.refresh(lambda: asked.append(1) or ROWS)  # type: ignore[func-returns-value]
        assert len(asked) == 2
        table.problem("trouble\n")
        table.summary(ROWS, {})
    assert "mark 0.6" in printed(target)
    assert "trouble" in printed(target)
