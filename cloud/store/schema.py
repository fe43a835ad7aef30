"""The tables; what must not happen twice is a primary key."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
)

from contract.wire import FIRST_YEAR, LAST_YEAR

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


FIRST, LAST = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC), datetime(LAST_YEAR, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite, which knows no zones, keeps it as naive UTC.

    What earlier versions stored beyond the years that the wire allows is read as the nearest moment that a zone can shift.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        known: datetime = value
        if not FIRST_YEAR <= known.year <= LAST_YEAR:
            return FIRST if known.year < FIRST_YEAR else LAST
        return known.replace(tzinfo=UTC) if known.tzinfo is None else known.astimezone(UTC)


devices = Table(
    "devices",
    metadata,
    Column("name", String(39), primary_key=True),
    Column("first_seen", Instant, nullable=False),
    Column("last_seen", Instant, nullable=False),
    Column("state", String(10)),  # what it last said of itself; null: no heartbeat yet
    Column("boot", Uuid),
    Column("heartbeat_at", Instant),  # when the last heartbeat arrived
    Column("uptime_s", Float, nullable=False, server_default="0"),
    Column("release", BigInteger),
    Column("accelerator", String(10)),
    Column("fps", Float, nullable=False, server_default="0"),
    Column("frames", BigInteger, nullable=False, server_default="0"),
    Column("frames_dropped", BigInteger, nullable=False, server_default="0"),
    Column("waiting", BigInteger, nullable=False, server_default="0"),
    Column("waiting_bytes", BigInteger, nullable=False, server_default="0"),
    Column("events_lost", BigInteger, nullable=False, server_default="0"),
    Column("crops_lost", BigInteger, nullable=False, server_default="0"),
    Column("trouble", JSON),
    Column("board", JSON(none_as_null=True)),  # what the machine says of itself, as in its heartbeat
    Column("drift", Float),  # 0..1; null: too young to tell
)

events = Table(
    "events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("device", String(39), nullable=False),  # of `devices`, unchecked: checking cost as much as writing (ADR 21)
    Column("at", Instant, nullable=False),
    Column("claimed_at", Instant),  # what the device said, where `at` is our own clock instead
    Column("line", String(39), nullable=False, server_default=""),  # empty: the camera has only one
    Column("direction", String(3), nullable=False),
    Column("label", String(30), nullable=False),
    Column("confidence", Float, nullable=False),
    Column("release", BigInteger, nullable=False),
    Column("accelerator", String(10), nullable=False),
    Column("boot", Uuid, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("clock_synchronised", Boolean, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("fingerprint", LargeBinary(16), nullable=False),  # of device and body: tells a repeat from a conflict
    postgresql_partition_by="RANGE (id)",  # one table a month (partitions.py): an id's first bits are its time
)
Index("ix_events_device_at", events.c.device, events.c.at)

boots = Table(
    "boots",
    metadata,
    Column("device", String(39), ForeignKey("devices.name"), primary_key=True),
    Column("boot", Uuid, primary_key=True),
    Column("stored", BigInteger, nullable=False),
    Column("expected", BigInteger, nullable=False),  # passes the device is known to have counted in this boot
    Column("first_seen", Instant, nullable=False),
)
_GAP = boots.c.expected > boots.c.stored
Index("ix_boots_gaps", boots.c.device, sqlite_where=_GAP, postgresql_where=_GAP)  # few boots ever have one
Index("ix_boots_device_first_seen", boots.c.device, boots.c.first_seen)

hours = Table(
    "hours",
    metadata,
    Column("device", String(39), ForeignKey("devices.name"), primary_key=True),
    Column("hour", Instant, primary_key=True),
    Column("direction", String(3), primary_key=True),
    Column("label", String(30), primary_key=True),
    Column("release", BigInteger, primary_key=True),
    Column("accelerator", String(10), primary_key=True),
    Column("line", String(39), primary_key=True, server_default=""),
    Column("passes", BigInteger, nullable=False),
)
Index("ix_hours_hour", hours.c.hour)

coverage = Table(
    "coverage",
    metadata,
    Column("device", String(39), ForeignKey("devices.name"), primary_key=True),
    Column("hour", Instant, primary_key=True),
    Column("open_minutes", SmallInteger, nullable=False),  # of the opening hours, and over when it was told
    Column("seen_minutes", SmallInteger, nullable=False),  # of those, looked at
    Column("clock_synchronised", Boolean, nullable=False),
    sqlite_with_rowid=False,  # the key is the table: a door's week lies together
)
Index("ix_coverage_hour", coverage.c.hour)

crops = Table(
    "crops",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("device", String(39), ForeignKey("devices.name"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("claimed_at", Instant),
    Column("received_at", Instant, nullable=False),
    Column("role", String(20), nullable=False),
    Column("window", Uuid, nullable=False),
    Column("jpeg_digest", String(64), nullable=False),  # the picture's key among the blobs
    Column("jpeg_bytes", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("header", JSON, nullable=False),  # the wire header, whole
    Column("fingerprint", LargeBinary(16), nullable=False),
    Column("gone_at", Instant),  # since when its picture is no longer kept; the row keeps a resent crop out
)
Index("ix_crops_device_at", crops.c.device, crops.c.at)
Index("ix_crops_jpeg_digest", crops.c.jpeg_digest)
Index("ix_crops_received_at", crops.c.received_at)

quarantine = Table(
    "quarantine",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),  # of topic and payload: a resent message is one row
    Column("received_at", Instant, nullable=False),
    Column("last_received_at", Instant, nullable=False),
    Column("deliveries", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("device", String(39)),  # null where the topic names none
    Column("kind", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("things", Integer, nullable=False),  # events or crops refused in this message
    Column("size", Integer, nullable=False),
    Column("head", LargeBinary, nullable=False),  # its first bytes
)
Index("ix_quarantine_received_at", quarantine.c.received_at)

consumers = Table(
    "consumers",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("connected", Boolean, nullable=False),
    Column("since", Instant, nullable=False),  # of this connection or this outage
    Column("alive_at", Instant, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("number", BigInteger, nullable=False),  # grows with every commit that changed something
)

tokens = Table(
    "tokens",
    metadata,
    Column("sha256", String(64), primary_key=True),  # of the token; the token itself is nowhere
    Column("name", String(63), nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("scopes", String(100), nullable=False, server_default="trainer"),  # what it may do, with spaces between
    Column("expires_at", Instant),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("in_flight", Boolean, unique=True),  # true or null: the database itself keeps a second one out
    Column("snapshot", String(64)),
    Column("release", BigInteger, nullable=False),
    Column("champion", BigInteger, nullable=False),
    Column("again", BigInteger),
    Column("reason", String(300), nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("lease", Uuid),
    Column("worker", String(63)),
    Column("lease_until", Instant),
    Column("stage", String(30), nullable=False, server_default=""),
    Column("done", Float, nullable=False, server_default="0"),
    Column("curve", JSON, nullable=False),
    Column("outcome", JSON),
    Column("ended_at", Instant),
)
Index("ix_jobs_made_at", jobs.c.made_at)

releases = Table(
    "releases",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("published_at", Instant, nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("job", Uuid),  # what made it, where known
    Column("again", BigInteger),  # the release whose bytes it brings back
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("release", BigInteger, ForeignKey("releases.number"), nullable=False, unique=True),
    Column("state", String(10), nullable=False),
    Column("group", String(10), nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("group_began_at", Instant, nullable=False),
    Column("settled_at", Instant),  # since when the whole first group has run it
    Column("reason", Text, nullable=False, server_default=""),
)

doors_desired = Table(
    "doors_desired",
    metadata,
    Column("device", String(39), ForeignKey("devices.name"), primary_key=True),
    Column("number", BigInteger, nullable=False),  # grows with every change of this row
    Column("published_number", BigInteger, nullable=False, server_default="0"),  # what the broker has confirmed
    Column("release", BigInteger, nullable=False),
    Column("sampling", JSON),
    Column("door", JSON),
    Column("opening", JSON),
    Column("group", String(10), nullable=False),
    Column("since", Instant, nullable=False),  # when it was asked
    Column("published_at", Instant),
)

reported = Table(
    "reported",
    metadata,
    Column("device", String(39), ForeignKey("devices.name"), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("release", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("step", String(15), nullable=False),
    Column("wanted", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
)

labels = Table(
    "labels",  # events, never changed: an undo is an event too
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("crop", Uuid, ForeignKey("crops.id"), nullable=False),
    Column("labeller", String(60), nullable=False),
    Column("answer", String(30)),  # null: this event takes `undoes` back
    Column("undoes", Uuid, ForeignKey("labels.id"), unique=True),
    Column("box", JSON),  # the mended box; null: as it came
    Column("at", Instant, nullable=False),
    Column("took_ms", Integer, nullable=False),
    Column("prediction_seen", Boolean, nullable=False),
    Column("guideline", Integer, nullable=False),
)
Index("ix_labels_crop", labels.c.crop)

leases = Table(
    "leases",
    metadata,
    Column("crop", Uuid, ForeignKey("crops.id"), primary_key=True),
    Column("labeller", String(60), nullable=False),
    Column("until", Instant, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("digest", String(64), primary_key=True),  # of the content, which lies among the blobs
    Column("made_at", Instant, nullable=False),
    Column("examples", Integer, nullable=False),
    Column("tally", JSON, nullable=False),  # by use, then by answer
)

doomed = Table(
    "doomed",  # pictures that no row names any more, on their way out of the blobs
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("due_at", Instant, nullable=False),
    Column("deleting", Boolean, nullable=False),  # from here on there is no way back
)

erasures = Table(
    "erasures",  # what must not come back, from a door or from a backup
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("device", String(39)),  # null: every door
    Column("crop", Uuid),  # null: every crop of the span
    Column("start", Instant),  # null: from the beginning
    Column("end", Instant, nullable=False),
    Column("events", Boolean, nullable=False),  # passes and their hour counts too
    Column("asked_at", Instant, nullable=False),
    Column("done_at", Instant),  # null: begun, and gone on with
)

tombstones = Table(
    "tombstones",  # erased crops, and passes whose time was ours, which no span catches when they come again
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", Instant, nullable=False),
)

upkeep = Table(
    "upkeep",  # what the housekeeper took away
    metadata,
    Column("subject", String(30), primary_key=True),
    Column("at", Instant, nullable=False),  # of the latest turn
    Column("removed", BigInteger, nullable=False),  # in the latest turn that found something
    Column("total", BigInteger, nullable=False),
)
