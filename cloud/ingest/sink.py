"""The consumer's way into the database: whatever goes wrong there means "not now"."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud.ingest.ingest import Outcome, ingest
from cloud.ingest.parcels import Parcel
from cloud.store import writing
from cloud.store.blobs import Blobs
from cloud.store.database import reason
from contract.errors import TryAgainError


class DatabaseSink:
    """Writes for the consumer called `name`."""

    def __init__(self, engine: Engine, blobs: Blobs, name: str) -> None:
        self._engine, self._blobs, self._name = engine, blobs, name
        self._told: bool | None = None

    def write(self, parcels: Sequence[Parcel], *, now: datetime) -> Outcome:
        """Commit them. Raises TryAgainError where the database cannot be used now."""
        try:
            return ingest(self._engine, self._blobs, parcels, now=now)
        except SQLAlchemyError as error:
            raise TryAgainError(f"the database is away ({reason(error)})") from error

    def sign_of_life(self, *, connected: bool, since: datetime, now: datetime) -> None:
        """Record it; pages are only woken where the connection came or went. Raises TryAgainError."""
        try:
            with self._engine.begin() as connection:
                writing.write_consumer(connection, self._name, connected=connected, since=since, alive_at=now)
                if connected != self._told:
                    writing.mark_change(connection)
        except SQLAlchemyError as error:
            raise TryAgainError(f"the database is away ({reason(error)})") from error
        self._told = connected
