"""Opens the database, SQLite or PostgreSQL, and brings its tables up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from cloud.store import schema_accounts, schema_doors, schema_duties  # noqa: F401 - their tables belong to the same metadata
from contract.errors import TryAgainError

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS = 5_000
MIGRATION_LOCK = 0x6D66  # any number that all our processes share


class DatabaseUnavailableError(TryAgainError):
    """The database cannot be opened; the message says which, and why."""


def open_database(url: str) -> Engine:
    """An engine for `url`, not yet connected; `sqlite:///PATH` or `postgresql+psycopg://...`."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed)
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    # by UTC, or the last hours of year 9999 would be told as those of a year that Python does not know
    return create_engine(parsed, pool_pre_ping=True, connect_args={"connect_timeout": 5, "options": "-c timezone=UTC"})


def migrate(engine: Engine, target: str = "head", *, down: bool = False) -> None:
    """Bring the tables to `target` (`head`, `base`, a revision, or `-1` and `+1`; `down` to an earlier revision).

    Two processes may try at once.

    Raises DatabaseUnavailableError, whose message names the database without its password.
    """
    where = engine.url.render_as_string(hide_password=True)
    try:
        with engine.connect() as connection, _alone(connection):
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            if down or target == "base" or target.startswith("-"):
                command.downgrade(config, target)
            else:
                command.upgrade(config, target)
            connection.commit()
    except SQLAlchemyError as error:
        raise DatabaseUnavailableError(f"cannot use the database {where}: {reason(error)}") from error
    except CommandError as error:
        raise DatabaseUnavailableError(
            f"the database {where} was made by another version of this program: {error}"
        ) from error


def knows(revision: str) -> bool:
    """Whether tables of this revision can be brought up to date by this program."""
    return revision in {one.revision for one in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


def reason(error: SQLAlchemyError) -> str:
    """The driver's own words in one line; never the statement, never its parameters."""
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())[:300] if getattr(error, "orig", None) else type(error).__name__


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold off other migrating processes until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    yield


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")  # we acknowledge what is committed: it must survive a power cut
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()
