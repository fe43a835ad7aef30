"""A backup taken while a consumer writes brings everything back; a damaged one changes nothing."""

import os
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from cloud.fleet.keys import make_keys
from cloud.fleet.releases import Repository
from cloud.rules import RetentionRules
from cloud.store import schema
from cloud.store.blobs import BlobFolder, Blobs
from cloud.store.database import migrate, open_database
from cloud.store.erasures import Erasure
from cloud.upkeep import archive, dumps
from cloud.upkeep.backup import Places, back_up, restore
from cloud.upkeep.erasing import erase
from cloud.upkeep.housekeeper import Housekeeper
from contract.errors import ContractError, TryAgainError
from rehearsal.postgres import Postgres
from tests.cloud.backup_kit import NOW, START, Service, counts, quiet
from tests.cloud.conftest import pass_event
from tests.cloud.keeping_kit import days, pass_message


@pytest.fixture
def small(engine: Engine, tmp_path: Path) -> Service:
    made = Service(engine, BlobFolder(tmp_path / "blobs"), tmp_path)
    made.fill()
    return made


@pytest.fixture
def service(engine: Engine, blobs: Blobs, tmp_path: Path) -> Service:
    made = Service(engine, blobs, tmp_path)
    made.fill()
    return made


def test_what_was_destroyed_comes_back_whole(service: Service) -> None:
    before = counts(service.engine)
    manifest = service.back_up()
    assert (manifest.tables["events"], manifest.missing) == (60, 0)
    assert service.file.stat().st_mode & 0o777 == 0o600
    service.destroy()
    service.restore()
    assert counts(service.engine) == before
    assert service.site.kept(*service.crops) == [True] * 5
    assert service.snapshot is not None
    assert service.site.snapshots.content(service.snapshot)
    outcome = service.site.take_crops(*service.crops, now=NOW)
    assert len(outcome.acknowledgements["front"].stored) == 5
    assert counts(service.engine)["crops"] == 5
    assert [path.name for path in service.places.scratch.iterdir()] == []


def test_a_backup_beside_a_writing_consumer_is_one_moment(small: Service) -> None:
    done, written = threading.Event(), 0

    def write() -> None:
        nonlocal written
        while not done.is_set():
            events = [pass_event(number, at=START) for number in range(20)]
            small.site.take(pass_message("side", *events), now=NOW)
            written += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while written < 3:
            writer.join(0.01)
        manifest = small.back_up()
        after = written
        while written < after + 3:
            writer.join(0.01)
    finally:
        done.set()
        writer.join()
    small.destroy()
    small.restore()
    assert counts(small.engine)["events"] == manifest.tables["events"]
    assert small.site.passes() == manifest.tables["events"]  # no batch came in by half
    assert (manifest.tables["events"] - 60) % 20 == 0
    assert 60 < manifest.tables["events"] < 60 + 20 * written
    small.site.take_passes("late", [START] * 3, now=NOW)
    assert small.site.passes("late") == 3


def test_a_database_that_holds_something_is_only_given_up_when_told(small: Service) -> None:
    small.back_up()
    small.site.take_passes("new", [START] * 3, now=NOW)
    before = counts(small.engine)
    with pytest.raises(ContractError, match=r"63 events.*--replace"):
        small.restore()
    assert counts(small.engine) == before
    small.restore(replaced=True)
    assert counts(small.engine)["events"] == 60


def test_a_consumer_at_work_is_not_restored_under(small: Service) -> None:
    small.back_up()
    with small.engine.begin() as connection:
        connection.execute(schema.consumers.insert().values(name="c", connected=True, since=NOW, alive_at=NOW))
    with pytest.raises(ContractError, match="stop the service"):
        small.restore(replaced=True)


def test_a_backup_of_another_kind_of_database_is_refused(small: Service, tmp_path: Path) -> None:
    small.back_up()
    text_of = small.file.read_bytes()
    kind = small.engine.dialect.name
    other = "postgresql" if kind == "sqlite" else "sqlite"
    names = archive.DATABASE
    swapped = text_of.replace(f'"database": "{kind}"'.encode(), f'"database": "{other}"'.encode())
    small.file.write_bytes(swapped.replace(names[kind].encode(), names[other].encode()))
    with pytest.raises(ContractError):
        small.restore(replaced=True)


def test_what_was_erased_after_the_backup_does_not_come_back_with_it(service: Service) -> None:
    service.back_up()
    wanted = Erasure(uuid4(), None, service.crops[0].header.id, None, NOW, events=False, asked_at=NOW)
    erase(service.engine, service.places.blobs, service.places.journal, wanted, NOW)
    said: list[str] = []
    service.restore(replaced=True, said=said.append)
    assert service.site.kept(*service.crops) == [False, True, True, True, True]
    assert counts(service.engine)["crops"] == 4
    assert any("erased again" in one for one in said)


def test_the_journal_alone_keeps_the_erased_out_where_the_database_is_lost(service: Service) -> None:
    service.back_up()
    wanted = Erasure(uuid4(), "front", None, None, NOW, events=True, asked_at=NOW)
    erase(service.engine, service.places.blobs, service.places.journal, wanted, NOW)
    service.destroy()
    service.restore()
    assert (counts(service.engine)["crops"], service.site.passes()) == (0, 0)
    assert not any(service.site.kept(*service.crops))
    service.site.take_crops(*service.crops, now=NOW)
    assert counts(service.engine)["crops"] == 0


def test_a_backup_without_pictures_marks_what_is_missing(small: Service) -> None:
    small.back_up(pictures=False)
    small.destroy()
    said: list[str] = []
    small.restore(said=said.append)
    assert counts(small.engine)["crops"] == 5
    assert "5 crops have no picture any more" in said
    assert small.site.desk.take("Ada", 9, NOW) == []


def test_a_picture_whose_time_came_meanwhile_is_counted_and_not_fatal(small: Service) -> None:
    small.places.blobs.delete(small.crops[0].header.jpeg_digest)
    assert small.back_up().missing == 1


def test_releases_come_along_without_a_key_and_never_over_newer_ones(small: Service) -> None:
    make_keys(small.places.releases, datetime.now(UTC))
    small.back_up()
    with tarfile.open(small.file) as tar:
        names = tar.getnames()
        every = b"".join(content.read() for one in tar if (content := tar.extractfile(one)))
    assert "repository/metadata/timestamp.json" in names
    assert b"PRIVATE KEY" not in every
    assert not [name for name in names if "online" in name or "offline" in name or name.endswith(".pem")]
    elsewhere = replace(small.places, releases=small.folder / "elsewhere")
    restore(small.engine, elsewhere, small.file, NOW, replace=True, say=quiet)
    assert Repository(elsewhere.releases).numbers() == []
    before = {path: path.read_bytes() for path in small.places.releases.rglob("*") if path.is_file()}
    said: list[str] = []
    small.restore(replaced=True, said=said.append)
    assert {path: path.read_bytes() for path in small.places.releases.rglob("*") if path.is_file()} == before
    assert any("left as they are" in one for one in said)


def test_a_backup_of_an_older_version_comes_back_and_is_brought_up_to_date(database_url: str, tmp_path: Path) -> None:
    engine = open_database(database_url)
    migrate(engine, "0001")
    with engine.begin() as connection:
        when = "2026-05-04 12:00:00"
        connection.execute(
            text("INSERT INTO devices (name, first_seen, last_seen) VALUES ('front', :when, :when)"), {"when": when}
        )
    old = Service(engine, BlobFolder(tmp_path / "blobs"), tmp_path)
    manifest = old.back_up()
    assert (manifest.revision, manifest.tables["devices"]) == ("0001", 1)
    migrate(engine)
    old.fill()
    old.restore(replaced=True)
    assert (counts(engine)["devices"], counts(engine)["crops"]) == (1, 0)
    engine.dispose()


def test_a_backup_that_fails_leaves_the_one_of_before(small: Service) -> None:
    small.back_up()
    before = small.file.read_bytes()
    broken = replace(small.places, blobs=_Broken(small.folder))
    with pytest.raises(OSError, match="no pictures today"):
        back_up(small.engine, broken, small.file, NOW, with_pictures=True, say=quiet)
    assert small.file.read_bytes() == before
    assert not [path for path in small.folder.iterdir() if path.name.endswith(".part")]


class _Broken(BlobFolder):
    """A place that gives nothing."""

    def get(self, digest: str) -> bytes:
        raise OSError("no pictures today")


def test_an_empty_database_is_nothing_to_back_up(database_url: str, tmp_path: Path) -> None:
    engine = open_database(database_url)
    (tmp_path / "data").mkdir()
    places = Places(BlobFolder(tmp_path), BlobFolder(tmp_path), tmp_path, tmp_path / "journal", tmp_path / "data")
    with pytest.raises(ContractError, match="nothing to back up"):
        back_up(engine, places, tmp_path / "b.tar", NOW, with_pictures=False, say=quiet)
    assert not (tmp_path / "b.tar").exists()
    engine.dispose()


def test_without_the_programs_of_postgresql_it_is_said_what_to_install(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_database(postgres.new_database())
    migrate(engine)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TryAgainError, match="apt-get install postgresql-client"):
        dumps.dump(engine, tmp_path / "dump")
    engine.dispose()


def test_no_password_is_among_a_programs_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pg_dump", "pg_restore", "psql"):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\necho "$0 $@" >>{tmp_path}/said\necho "password $PGPASSWORD" >>{tmp_path}/said\nexit 3\n'
        )
        program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    engine = open_database("postgresql+psycopg://me:geheim@127.0.0.1:1/none")
    with pytest.raises(dumps.ProgramError, match="pg_dump ended with code 3"):
        dumps.run_program(["pg_dump"], engine)
    said = (tmp_path / "said").read_text()
    assert "password geheim" in said
    assert said.count("geheim") == 1
    engine.dispose()


def cloud(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cloud", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_commands_do_the_whole_way(tmp_path: Path) -> None:
    there = ("--set", f"data={tmp_path / 'one'}")
    elsewhere = ("--set", f"data={tmp_path / 'two'}")
    assert cloud("migrate", *there).returncode == 0
    assert cloud("token", "gpu-box", *there).returncode == 0
    saved = cloud("backup", tmp_path / "b.tar", "--pictures", *there)
    assert (saved.returncode, "The keys are not in it" in saved.stdout) == (0, True), saved.stderr
    loaded = cloud("restore", tmp_path / "b.tar", *elsewhere)
    assert (loaded.returncode, "Restored." in loaded.stdout) == (0, True), loaded.stderr
    again = cloud("restore", tmp_path / "b.tar", *elsewhere)
    assert (again.returncode, "1 tokens: --replace" in again.stderr) == (2, True), again.stderr
    (tmp_path / "b.tar").write_bytes(b"")
    refused = cloud("restore", tmp_path / "b.tar", "--replace", *elsewhere)
    assert (refused.returncode, len(refused.stderr.strip().splitlines())) == (2, 1), refused.stderr
    assert cloud("backup", tmp_path / "no" / "b.tar", *there).returncode == 2
    assert "needs no preparation" in cloud("blobs", "setup", *there).stderr


def test_a_restored_database_ages_on(small: Service) -> None:
    small.back_up()
    small.destroy()
    small.restore()
    Housekeeper(small.engine, small.places.blobs, RetentionRules()).turn(START + days(31))
    assert not any(small.site.kept(*small.crops))
