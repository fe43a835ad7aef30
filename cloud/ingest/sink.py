"""The consumer's way into the database: whatever goes wrong there means "not now"."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud.ingest.gatekeeper import Turned
from cloud.ingest.ingest import DEFAULT_RULES, Outcome, ingest
from cloud.ingest.meter import Sender
from cloud.ingest.parcels import Fault, Parcel
from cloud.rules import RetentionRules
from cloud.store import writing
from cloud.store.blobs import Blobs
from cloud.store.coverage import Told
from cloud.store.database import reason
from contract.errors import TryAgainError


class DatabaseSink:
    """Writes for the consumer called `name`."""

    def __init__(self, engine: Engine, blobs: Blobs, name: str, rules: RetentionRules = DEFAULT_RULES) -> None:
        self._engine, self._blobs, self._name, self._rules = engine, blobs, name, rules
        self._told: bool | None = None
        self._covered = Told()

    def write(self, parcels: Sequence[Parcel], *, now: datetime) -> Outcome:
        """Commit them. Raises TryAgainError where the database cannot be used now."""
        try:
            return ingest(self._engine, self._blobs, parcels, now=now, rules=self._rules, told=self._covered)
        except SQLAlchemyError as error:
            raise TryAgainError(f"the database is away ({reason(error)})") from error

    def turned_away(self, turned: Sequence[Turned], *, now: datetime) -> None:
        """One row an hour for each sender says how many. Raises TryAgainError."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        rows = [{"digest": _hour_of(one.sender, hour), "received_at": now, "last_received_at": now, "deliveries": one.messages,
                 "topic": f"mf/v1/+/{one.sender.device or '?'}/{one.sender.channel or '?'}", "device": one.sender.device or None,
                 "kind": Fault.FLOODING, "reason": "more than is opened of one door; these were only counted, this hour's in one line",
                 "things": 0, "size": 0, "head": b""} for one in turned]  # fmt: skip
        try:
            with self._engine.begin() as connection:
                writing.write_quarantine(connection, rows)
                writing.mark_change(connection)
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


def _hour_of(sender: Sender, hour: datetime) -> bytes:
    """The key of a row that stands for no single message."""
    return sha256(f"{Fault.FLOODING}\n{sender.device}\n{sender.channel}\n{hour.isoformat()}".encode()).digest()
