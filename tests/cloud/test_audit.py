"""The audit log: a chain that two writers cannot fork and nobody changes unseen."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from cloud.__main__ import main
from cloud.store import audit
from cloud.store.database import migrate, open_database
from cloud.store.schema_accounts import audit as table
from cloud.store.schema_accounts import audit_head

NOW = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)


def fill(engine: Engine, rows: int = 6) -> None:
    for number in range(rows):
        with engine.begin() as connection:
            audit.write(
                connection, NOW + timedelta(seconds=number), "person Zoë", "label", f"crop {number}", answer="with_mask",
                took=number, box=None, kept=True,
            )  # fmt: skip


def verdict(engine: Engine) -> audit.Verdict:
    with engine.connect() as connection:
        return audit.verify(connection)


def test_an_untouched_log_is_sound_and_reads_back_as_it_was_written(engine: Engine) -> None:
    assert verdict(engine) == audit.Verdict(0, audit.BEGIN)
    fill(engine)
    assert (verdict(engine).rows, verdict(engine).fault) == (6, None)
    with engine.connect() as connection:
        newest = audit.read(connection)[0]
    assert (newest.number, newest.who, newest.about, newest.detail["took"]) == (6, "person Zoë", "crop 5", 5)
    assert newest.at == NOW + timedelta(seconds=5)


def again(number: int, /, **changes: Any) -> Callable[[Connection], object]:
    return lambda connection: connection.execute(update(table).where(table.c.number == number).values(**changes))


def rehashed(connection: Connection) -> None:
    """Somebody who knows how hashes are made changes a row and makes its hash anew."""
    row = dict(connection.execute(select(table).where(table.c.number == 3)).mappings().one())
    row["about"] = "another crop"
    connection.execute(update(table).where(table.c.number == 3).values(about=row["about"], hash=audit.chained(row)))


def put_in(connection: Connection) -> None:
    row = dict(connection.execute(select(table).where(table.c.number == 6)).mappings().one())
    row |= {"number": 7, "previous": "f" * 64}
    connection.execute(insert(table).values(**{**row, "hash": audit.chained(row)}))


def cut_off(connection: Connection) -> None:
    connection.execute(delete(table).where(table.c.number > 4))


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        (again(3, who="person Eve"), "row 3 was changed"),
        (again(3, what="picture"), "row 3 was changed"),
        (again(3, about=""), "row 3 was changed"),
        (again(3, at=NOW), "row 3 was changed"),
        (again(3, detail={"answer": "without_mask"}), "row 3 was changed"),
        (again(3, hash="0" * 64), "row 3 was changed"),
        (again(1, previous="1" * 64), "row 1 does not follow"),
        (again(6, number=9), "row 6 is missing"),
        (rehashed, "row 4 does not follow"),
        (lambda connection: connection.execute(delete(table).where(table.c.number == 2)), "row 2 is missing"),
        (lambda connection: connection.execute(delete(table)), "row 1 is missing"),
        (put_in, "row 7 does not follow"),
        (cut_off, "row 5 is missing: the newest rows were cut off"),
        (lambda connection: connection.execute(update(audit_head).values(hash="0" * 64)), "row 7 is missing"),
    ],
)  # fmt: skip
def test_the_first_broken_row_is_named(engine: Engine, deed: Callable[[Connection], object], words: str) -> None:
    fill(engine)
    with engine.begin() as connection:
        deed(connection)
    fault = verdict(engine).fault
    assert fault is not None
    assert words in fault


def test_many_writers_at_once_make_one_chain(engine: Engine) -> None:
    def write(number: int) -> int:
        with engine.begin() as connection:
            return audit.write(connection, NOW, f"person {number}", "picture", "x")

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(write, range(80)))
    assert sorted(numbers) == list(range(1, 81))
    assert (verdict(engine).rows, verdict(engine).fault) == (80, None)


def test_a_look_at_the_chain_while_others_write_finds_it_sound(engine: Engine) -> None:
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(fill, engine, 60)
        while not writing.done():
            assert verdict(engine).fault is None
        writing.result()
    assert verdict(engine).rows == 60


def test_the_database_itself_keeps_a_fork_out(engine: Engine) -> None:
    fill(engine, 2)
    with engine.connect() as connection:
        row = dict(connection.execute(select(table).where(table.c.number == 2)).mappings().one())
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(table).values(**{**row, "number": 3}))


def test_what_is_rolled_back_leaves_no_row_and_no_gap(engine: Engine) -> None:
    fill(engine, 1)
    with pytest.raises(ZeroDivisionError), engine.begin() as connection:
        audit.write(connection, NOW, "person Ada", "label")
        _ = 1 / 0
    fill(engine, 1)
    assert (verdict(engine).rows, verdict(engine).fault) == (2, None)


def test_hostile_text_is_kept_as_something_every_database_takes(engine: Engine) -> None:
    with engine.begin() as connection:
        audit.write(connection, NOW, "x\x00" * 100, "a\nb", "\ud800<b>%_'\"" + "y" * 999, note="\x00", list=[1])
    (row,) = read(engine)
    assert (len(row.who), row.what, len(row.about)) == (80, "a\N{REPLACEMENT CHARACTER}b", 200)
    assert verdict(engine).fault is None


def read(engine: Engine, **filters: Any) -> list[audit.Entry]:
    with engine.connect() as connection:
        return audit.read(connection, **filters)


def test_rows_are_found_by_who_what_and_about_and_paged(engine: Engine) -> None:
    fill(engine, audit.PER_PAGE + 3)
    with engine.begin() as connection:
        audit.write(connection, NOW, "machine gpu_box", "picture", "50% of it")
    assert len(read(engine)) == audit.PER_PAGE + 1
    assert [one.number for one in read(engine, before=3)] == [2, 1]
    assert [one.about for one in read(engine, who="gpu_b")] == ["50% of it"]
    assert read(engine, who="gpuxb") == []  # `_` and `%` are letters here
    assert [one.what for one in read(engine, about="0% o")] == ["picture"]
    assert [one.what for one in read(engine, what="picture")] == ["picture"]


def test_the_command_says_sound_or_names_the_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'maskfleet.sqlite'}")
    migrate(engine)
    fill(engine)
    options = ["--set", f"data={tmp_path}"]
    assert main(["audit", "verify", *options]) == 0
    told = capsys.readouterr().out
    assert told.startswith("sound: 6 rows")
    noted = told.split("write down ")[1].split()[0]
    fill(engine, 2)
    assert main(["audit", "verify", "--known", noted, *options]) == 0
    with engine.begin() as connection:  # the whole log anew, hashes and all: sound in itself, but not what it was
        connection.execute(delete(table))
        connection.execute(update(audit_head).values(number=0, hash=audit.BEGIN))
        for _ in range(8):
            audit.write(connection, NOW, "person Eve", "nothing happened")
    assert main(["audit", "verify", *options]) == 0
    assert main(["audit", "verify", "--known", noted, *options]) == 1
    assert "the log was written anew" in capsys.readouterr().out
    with engine.begin() as connection:
        connection.execute(update(table).where(table.c.number == 5).values(who="person Ada"))
    engine.dispose()
    assert main(["audit", "verify", *options]) == 1
    assert capsys.readouterr().out.startswith("broken: row 5 was changed")
