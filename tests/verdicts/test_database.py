import os
import sqlite3
import stat

import pytest

from flowsonar.errors import StoreError
from flowsonar.verdicts import database
from flowsonar.verdicts.database import APPLICATION_ID, BusyError, Database

ROW = ("192.0.2.1", 80, "tcp", 1.0, 2.0, 0, None, 0.0, b"{}", 2.0)


def test_new_file_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "state" / "flowsonar" / "verdicts.db"
    Database(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_log_beside_it_too(tmp_path):
    opened = Database(tmp_path / "verdicts.db")
    opened.write([(database.PUT, [ROW])])
    assert stat.S_IMODE((tmp_path / "verdicts.db-wal").stat().st_mode) == 0o600
    opened.close()


def test_schema_is_made_once(tmp_path):
    path = tmp_path / "verdicts.db"
    for _ in range(2):
        opened = Database(path)
        assert opened.read("PRAGMA user_version", ()) == [(1,)]
        assert opened.read("PRAGMA application_id", ()) == [(APPLICATION_ID,)]
        assert opened.read("PRAGMA journal_mode", ()) == [("wal",)]
        opened.close()


def test_all_or_nothing(tmp_path):
    opened = Database(tmp_path / "verdicts.db")
    with pytest.raises(StoreError):
        opened.write([(database.PUT, [ROW]), ("INSERT INTO nowhere VALUES (?)", [(1,)])])
    assert opened.read("SELECT count(*) FROM endpoint", ()) == [(0,)]
    opened.write([(database.PUT, [ROW])])
    assert opened.read("SELECT count(*) FROM endpoint", ()) == [(1,)]
    opened.close()


def test_migrations_run_from_the_version_of_the_file(tmp_path, monkeypatch):
    path = tmp_path / "verdicts.db"
    Database(path).close()
    monkeypatch.setattr(
        database, "_MIGRATIONS", (*database._MIGRATIONS, "CREATE TABLE later (x); CREATE TABLE more (y)")
    )
    opened = Database(path)
    assert opened.read("SELECT x, y FROM later, more", ()) == []
    assert opened.read("PRAGMA user_version", ()) == [(2,)]
    opened.close()


def broken(content):
    def make(path):
        path.write_bytes(content)

    return make


def other_program(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def newer(path):
    Database(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def damaged(path):
    opened = Database(path)
    opened.write([(database.PUT, [(f"192.0.2.{n}", *ROW[1:]) for n in range(200)])])
    opened.close()
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xa5" * 3996
    path.write_bytes(content)


REFUSED = [
    ("text", broken(b"not a database at all\n" * 100), "move the file away"),
    ("random", broken(bytes(range(256)) * 64), "move the file away"),
    ("damaged", damaged, "move the file away"),
    ("of another program", other_program, "another program"),
    ("of a newer version", newer, "newer flowsonar"),
    ("a folder", lambda path: path.mkdir(), "--store"),
]


@pytest.mark.parametrize(("make", "says"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused_with_what_to_do(tmp_path, make, says):
    path = tmp_path / "verdicts.db"
    make(path)
    with pytest.raises(StoreError) as caught:
        Database(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["file/verdicts.db", "file/deeper/verdicts.db"])
def test_a_place_that_cannot_be(tmp_path, place):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be created"):
        Database(tmp_path / place)


def test_an_empty_file_becomes_a_store(tmp_path):
    path = tmp_path / "verdicts.db"
    path.touch()
    opened = Database(path)
    assert opened.read("SELECT count(*) FROM audit", ()) == [(0,)]
    opened.close()


def test_held_by_another_process(tmp_path):
    path = tmp_path / "verdicts.db"
    opened = Database(path)
    opened.wait(0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError):
        opened.write([(database.PUT, [ROW])])
    assert opened.read("SELECT count(*) FROM endpoint", ()) == [(0,)]
    other.execute("ROLLBACK")
    other.close()
    opened.write([(database.PUT, [ROW])])
    opened.close()


def test_full_disk(tmp_path):
    opened = Database(tmp_path / "verdicts.db")
    opened.connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreError, match="disk is full"):
        opened.write([(database.PUT, [(f"192.0.2.{n}", *ROW[1:8], os.urandom(500), 0.0) for n in range(200)])])
    opened.close()


def test_prunes_what_is_too_much_and_too_old(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "AUDIT_ROWS", 10)
    monkeypatch.setattr(database, "HISTORY_ROWS", 5)
    monkeypatch.setattr(database, "ENDPOINT_ROWS", 4)
    now_s = 10 * database.KEEP_S
    opened = Database(tmp_path / "verdicts.db")
    ages = [now_s - 2 * database.KEEP_S] * 3 + [now_s - n for n in range(20, 0, -1)]
    opened.write(
        [
            (database.PUT, [(f"192.0.2.{n}", *ROW[1:9], time_s) for n, time_s in enumerate(ages)]),
            (
                database.PUT_AUDIT,
                [("192.0.2.1", 80, "tcp", time_s, "send", "http/get", 1, None, "") for time_s in ages],
            ),
            (database.PUT_HISTORY, [("192.0.2.1", 80, "tcp", t, "learned", *[None] * 4, "likely") for t in ages]),
        ]
    )
    opened.write(database.prunes(now_s))
    counts = [opened.read(query, ())[0][0] for query in ("SELECT count(*) FROM audit", "SELECT count(*) FROM history")]
    assert counts == [10, 5]
    assert opened.read("SELECT stale_s FROM endpoint ORDER BY stale_s DESC", ()) == [(now_s - n,) for n in (1, 2, 3, 4)]
    opened.write([(database.PUT_AUDIT, [("a", 1, "tcp", now_s, "send", "x", 1, None, "")])])
    opened.write(database.prunes(now_s + 2 * database.KEEP_S))
    assert opened.read("SELECT count(*) FROM audit", ()) == [(0,)]
    opened.close()
