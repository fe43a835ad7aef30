"""Tables, migrations and what is said when there is no database."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from cloud.store.database import DatabaseUnavailableError, migrate, open_database
from cloud.store.schema import metadata


def test_the_migrations_make_exactly_the_tables_of_the_schema(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migrations_go_down_to_nothing_and_up_again(engine: Engine) -> None:
    migrate(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    migrate(engine)
    assert set(inspect(engine).get_table_names()) >= set(metadata.tables)


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
