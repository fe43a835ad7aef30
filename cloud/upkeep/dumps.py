"""A database to one file and back in one step: SQLite's own online backup, PostgreSQL by its own programs."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, inspect, text

from cloud.store.schema import metadata
from contract.errors import ContractError, TryAgainError

VERSION_TABLE = "alembic_version"
SAID = 300  # characters of a program's last words

PARTS = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass ORDER BY 1")


@dataclass(frozen=True, slots=True)
class Content:
    """What a dump holds."""

    revision: str
    tables: dict[str, int]  # rows


class ProgramError(TryAgainError):
    """A program of PostgreSQL's is missing, or refuses; the message says which and why."""


def our_tables(engine: Engine) -> list[str]:
    """Those of this database that are ours, of whatever version."""
    return sorted(set(inspect(engine).get_table_names()) & {*metadata.tables, VERSION_TABLE})


def dump(engine: Engine, target: Path) -> Content:
    """Everything of ours as of one moment, while others write; `target` must not exist.

    Raises ContractError where there is nothing yet; OSError, SQLAlchemyError, ProgramError.
    """
    if VERSION_TABLE not in our_tables(engine):
        raise ContractError("there is nothing to back up: this database has no tables of ours")
    return _dump_sqlite(engine, target) if engine.dialect.name == "sqlite" else _dump_postgresql(engine, target)


def load(engine: Engine, source: Path, content: Content) -> None:
    """Replace everything of ours by `source`, in one transaction: killed in the middle, it leaves what was there.

    Raises ContractError where the file does not hold what `content` says; OSError, SQLAlchemyError, ProgramError.
    Nothing is changed then.
    """
    (_load_sqlite if engine.dialect.name == "sqlite" else _load_postgresql)(engine, source, content)


def _dump_sqlite(engine: Engine, target: Path) -> Content:
    with closing(sqlite3.connect(engine.url.database or "")) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)  # in one step: writers go on beside it, in the write-ahead log
        copy.execute("PRAGMA journal_mode = DELETE")
        content = _content_of(copy)
    _sync(target)
    return content


def _load_sqlite(engine: Engine, source: Path, content: Content) -> None:
    try:
        with closing(sqlite3.connect(source)) as copy:
            if copy.execute("PRAGMA integrity_check").fetchall() != [("ok",)] or _content_of(copy) != content:
                raise ContractError("the database in the backup is damaged")
            engine.dispose()
            with closing(sqlite3.connect(engine.url.database or "", timeout=30)) as target:
                copy.backup(target)
    except sqlite3.DatabaseError as error:
        raise ContractError(f"the database in the backup cannot be used: {error}") from error


def _content_of(copy: sqlite3.Connection) -> Content:
    names = {row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    ours = sorted(names & {*metadata.tables, VERSION_TABLE})
    counts = {name: int(copy.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]) for name in ours}  # noqa: S608
    return Content(str(copy.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()[0]), counts)  # noqa: S608


def _dump_postgresql(engine: Engine, target: Path) -> Content:
    program = _program("pg_dump")
    names = our_tables(engine)
    schema = inspect(engine).default_schema_name
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        seen = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        counts = {
            name: int(connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one())  # noqa: S608
            for name in names
        }
        revision = str(connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one())  # noqa: S608
        names += [*connection.execute(PARTS).scalars(), *sorted(inspect(connection).get_view_names())]
        tables = [part for name in names for part in ("-t", f'"{schema}"."{name}"')]
        run_program(
            [program, "-Fc", "--no-owner", "--no-privileges", f"--snapshot={seen}", *tables, "-f", str(target)], engine
        )
    _sync(target)
    return Content(revision, counts)


def _load_postgresql(engine: Engine, source: Path, content: Content) -> None:
    """One script in one transaction: a stream that ends early never reaches its COMMIT."""
    restore, client = _program("pg_restore"), _program("psql")
    schema = inspect(engine).default_schema_name
    known = {*metadata.tables, VERSION_TABLE}
    if strangers := set(content.tables) - known:
        raise ContractError(f"the backup holds tables that this program does not know: {', '.join(sorted(strangers))}")
    first = "BEGIN;\nSET LOCAL lock_timeout = '10s';\n" + "".join(
        f'DROP TABLE IF EXISTS "{schema}"."{name}" CASCADE;\n' for name in sorted(known)
    )
    last = "".join(
        f'DO $$ BEGIN IF (SELECT count(*) FROM "{schema}"."{name}") <> {number} THEN '  # noqa: S608
        f"RAISE EXCEPTION 'table {name} is not whole'; END IF; END $$;\n"
        for name, number in sorted(content.tables.items())
    )
    place = [*_where(engine)]
    engine.dispose()
    said = source.with_name("psql.out")
    with said.open("w+b") as words:
        with subprocess.Popen(
            [client, "-X", "-q", "-v", "ON_ERROR_STOP=1", *place, "-f", "-"],
            stdin=subprocess.PIPE, stdout=words, stderr=words, env=_environment(engine),
        ) as process:  # fmt: skip
            try:
                _feed(
                    process,
                    first,
                    [restore, "--no-owner", "--no-privileges", "-f", "-", str(source)],
                    f"{last}COMMIT;\n",
                )
            except ContractError:
                process.kill()
                raise
        words.seek(0)
        if process.returncode:
            raise ProgramError(f"psql refuses the backup: {_last(words.read())}")


def _feed(process: subprocess.Popen[bytes], first: str, middle: Sequence[str], last: str) -> None:
    stream = process.stdin
    if stream is None:
        return
    try:
        stream.write(first.encode())
        stream.flush()
        answer = subprocess.run(middle, stdout=stream, stderr=subprocess.PIPE, check=False)
        if answer.returncode and not _ends(process):
            raise ContractError(f"pg_restore cannot read the backup: {_last(answer.stderr)}")
        stream.write(last.encode())
        stream.close()
    except BrokenPipeError:  # psql has said why, and ended
        return


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ended by itself, which is then the cause, and not the program that wrote to it."""
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        return False
    return True


def run_program(command: Sequence[str], engine: Engine) -> None:
    """Run one of PostgreSQL's programs on this database. Raises ProgramError with its last words."""
    answer = subprocess.run(
        [*command, *_where(engine)],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env=_environment(engine),
        check=False,
    )
    if answer.returncode:
        raise ProgramError(f"{Path(command[0]).name} ended with code {answer.returncode}: {_last(answer.stderr)}")


def _where(engine: Engine) -> list[str]:
    """Without the password, which every user of the machine could read there."""
    return ["-d", engine.url.set(drivername="postgresql", password=None).render_as_string()]


def _environment(engine: Engine) -> dict[str, str]:
    password = engine.url.password
    return {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ProgramError(
            f"{name} is not installed: `apt-get install postgresql-client`, of the server's version or newer"
        )
    return found


def _last(words: bytes) -> str:
    return " ".join(words.decode(errors="replace").split())[-SAID:]


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
