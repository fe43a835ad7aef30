"""A filled service to back up and to destroy."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, func, select

from cloud.store import schema
from cloud.store.blobs import Blobs
from cloud.store.database import migrate
from cloud.upkeep import archive
from cloud.upkeep.backup import Places, back_up, restore
from tests.cloud.keeping_kit import Site, crop

START = datetime(2026, 5, 4, 12, tzinfo=UTC)
NOW = START + timedelta(hours=6)


def quiet(_: str) -> None:
    """Progress that nobody reads."""


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for name, table in schema.metadata.tables.items()
        }


class Service:
    """A filled site and the places of its parts."""

    def __init__(self, engine: Engine, blobs: Blobs, folder: Path) -> None:
        (folder / "data").mkdir()
        self.engine, self.folder = engine, folder
        self.site = Site(engine, blobs)
        self.places = Places(blobs, blobs, folder / "releases", folder / "data" / "erasures.jsonl", folder / "data")
        self.file = folder / "backup.tar"

    def fill(self) -> None:
        self.crops = [crop(START, seed=number) for number in range(5)]
        self.site.take_crops(*self.crops, now=START)
        for one in self.crops[:3]:
            self.site.label(one, START)
        self.snapshot = self.site.snapshots.make(START)
        self.site.take_passes("front", [START + timedelta(minutes=number) for number in range(60)], now=NOW)

    def back_up(self, *, pictures: bool = True) -> archive.Manifest:
        return back_up(self.engine, self.places, self.file, NOW, with_pictures=pictures, say=quiet)

    def restore(self, *, replaced: bool = False, said: Callable[[str], None] = quiet) -> archive.Manifest:
        return restore(self.engine, self.places, self.file, NOW, replace=replaced, say=said)

    def destroy(self, *, pictures: bool = True) -> None:
        migrate(self.engine, "base")
        migrate(self.engine)
        if pictures:
            for one in list(self.places.blobs.entries()):
                self.places.blobs.delete(one.digest)
