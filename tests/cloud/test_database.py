"""Tables, migrations and what is said when there is no database."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import JSON, Column, Connection, Engine, LargeBinary, MetaData, String, Uuid, inspect, select, text

from cloud.store.database import DatabaseUnavailableError, migrate, open_database
from cloud.store.schema import Instant, metadata


def test_the_migrations_make_exactly_the_tables_of_the_schema(engine: Engine) -> None:
    assert differences(engine) == []


def differences(engine: Engine) -> list[Any]:
    """Between the database's tables and the schema's."""
    with engine.connect() as connection:
        parts = partitions(connection)

        def whole(name: str | None, kind: str, _parents: object) -> bool:
            return kind != "table" or name not in parts

        context = MigrationContext.configure(connection, opts={"include_name": whole})
        return list(compare_metadata(context, metadata))


def partitions(connection: Connection) -> set[str]:
    """The tables that are parts of others; PostgreSQL sees to it that they have the same columns and indexes."""
    if connection.dialect.name == "sqlite":
        return set()
    query = text("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
    return set(connection.execute(query).scalars())


def test_migrations_go_down_to_nothing_and_up_again(engine: Engine) -> None:
    migrate(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    migrate(engine)
    assert set(inspect(engine).get_table_names()) >= set(metadata.tables)


Rows = dict[str, list[dict[str, Any]]]
FIRST = "0001"


def value(column: Column[Any], number: int) -> Any:
    """Something of the column's kind, as awkward as it may be."""
    if column.unique and column.nullable and not column.foreign_keys:
        return True if number == 0 else None  # a flag that one row alone may have
    if isinstance(column.type, Instant):
        return datetime(2026, 5, 4, 12, number, 1, 5, UTC)
    if isinstance(column.type, Uuid):
        return UUID(int=number + 1)
    if isinstance(column.type, String):
        odd = f"{number}ä\U0001f525'; --"
        return odd[: column.type.length or 300]
    if isinstance(column.type, LargeBinary):
        return bytes([number, 0, 255]) * 5
    if isinstance(column.type, JSON):
        return {"ä": [number, None, "\U0001f525"]}
    plain = {int: 7 + number, float: 0.25 + number, bool: True, date: date(2026, 5, 4 + number)}
    return plain[column.type.python_type]


def fill(engine: Engine) -> None:
    """Two rows in every table, the second one pointing at the first where a table points at itself."""
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            if table.name in ("changes", "audit_head"):
                continue  # have their one row
            for number in range(2):
                row = {column.name: value(column, number) for column in table.columns}
                for column in table.columns:
                    for key in column.foreign_keys:
                        own = key.column.table is table
                        row[column.name] = None if own and number == 0 else value(key.column, 0 if own else number)
                connection.execute(table.insert().values(row))


def content(engine: Engine, only: Rows | None = None) -> Rows:
    """Every row of every table as the database has it; of `only`, its tables and columns."""
    found = MetaData()
    found.reflect(engine)
    whole = {name for name in found.tables if not name.startswith("events_")}  # a month's events are also in `events`
    names = sorted((whole if only is None else set(only)) - {"alembic_version"})
    with engine.connect() as connection:
        return {
            name: _rows(connection.execute(select(found.tables[name])).mappings().all(), only, name) for name in names
        }


def _rows(rows: Any, only: Rows | None, name: str) -> list[dict[str, Any]]:
    columns = None if only is None or not only[name] else set(only[name][0])
    kept = [{key: one for key, one in row.items() if columns is None or key in columns} for row in rows]
    return sorted(kept, key=repr)


def revision(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def test_rows_survive_each_step_down_and_up_again_as_far_as_the_older_tables_can_hold_them(engine: Engine) -> None:
    fill(engine)
    assert all(content(engine).values())
    steps = 0
    while revision(engine) != FIRST:
        upper, here = content(engine), revision(engine)
        migrate(engine, "-1")
        lower = content(engine)
        assert revision(engine) != here
        assert lower == _limited(upper, lower)
        assert all(lower.values())
        migrate(engine, "+1")
        assert revision(engine) == here
        assert content(engine, lower) == lower
        migrate(engine, "-1")
        steps += 1
    assert steps >= 4
    oldest = content(engine)
    migrate(engine)
    assert content(engine, oldest) == oldest
    assert differences(engine) == []


def _limited(rows: Rows, to: Rows) -> Rows:
    return {name: _rows(rows[name], to, name) for name in to}


def test_migrating_twice_changes_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE changes SET number = 41"))
    migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT number FROM changes")).scalar_one() == 41


def test_an_unreachable_database_is_named_without_its_password() -> None:
    engine = open_database("postgresql+psycopg://me:secret@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailableError, match=r"cannot use the database postgresql.*none") as caught:
        migrate(engine)
    assert "secret" not in str(caught.value)


def test_a_database_of_a_newer_program_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseUnavailableError, match="another version"):
        migrate(engine)


def test_sqlite_is_opened_so_that_a_commit_survives_a_power_cut(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'a.sqlite'}")
    with engine.connect() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    engine.dispose()
    assert values == ["wal", 2, 1, 5000]


def test_counts_from_before_lines_were_kept_are_there_after_the_migration_and_apart_from_new_ones(
    engine: Engine,
) -> None:
    migrate(engine, "base")
    migrate(engine, "0004")
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO devices (name, first_seen, last_seen) VALUES ('a', '2026-05-04', '2026-05-04')")
        )
        old = "INSERT INTO hours (device, hour, direction, label, release, accelerator, passes{}) VALUES ('a', '2026-05-04 10:00:00', 'in', 'with_mask', 1, 'cpu', {})"
        connection.execute(text(old.format("", "7")))
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text(old.format(", line", "5, 'left'")))
        rows = connection.execute(text("SELECT line, passes FROM counts_hourly ORDER BY line")).all()
    assert [tuple(row) for row in rows] == [("", 7), ("left", 5)]
    migrate(engine, "base")  # two lines of one hour become one row on the way down
