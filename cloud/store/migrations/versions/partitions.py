"""Events in one table a month, on PostgreSQL; SQLite stays as it is."""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision: str = "partitions"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MONTHS_BACK, MONTHS_AHEAD = 24, 3
COLUMNS = (
    "id, device, at, claimed_at, direction, label, confidence, release, accelerator, boot, sequence, clock_synchronised,"
    " received_at, fingerprint"
)


def upgrade() -> None:
    """Move every event into the table of its id's month; ids of other times lie in the default table."""
    if op.get_bind().dialect.name != "postgresql":
        return
    _set_aside()
    _make_events(partition_by="RANGE (id)")
    op.execute("CREATE TABLE events_default PARTITION OF events DEFAULT")
    now = op.get_bind().execute(sa.text("SELECT now()")).scalar_one().astimezone(UTC)
    for distance in range(-MONTHS_BACK, MONTHS_AHEAD + 1):
        _make_month(now.year * 12 + now.month - 1 + distance, even_if_empty=distance >= 0)
    _move_back()


def downgrade() -> None:
    """Everything in one table again."""
    if op.get_bind().dialect.name != "postgresql":
        return
    _set_aside()
    _make_events(partition_by=None)
    _move_back()


def _set_aside() -> None:
    op.execute("ALTER TABLE events RENAME TO events_before")
    op.execute("ALTER INDEX pk_events RENAME TO pk_events_before")
    op.execute("ALTER INDEX ix_events_device_at RENAME TO ix_events_before_device_at")


def _make_events(partition_by: str | None) -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device", sa.String(39), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("direction", sa.String(3), nullable=False),
        sa.Column("label", sa.String(30), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("release", sa.BigInteger(), nullable=False),
        sa.Column("accelerator", sa.String(10), nullable=False),
        sa.Column("boot", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("clock_synchronised", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(16), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name="fk_events_device"),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        postgresql_partition_by=partition_by,
    )
    op.create_index("ix_events_device_at", "events", ["device", "at"])


def _make_month(count: int, *, even_if_empty: bool) -> None:
    """`count` is of months since the year 0."""
    year, month = divmod(count, 12)
    lower, upper = _first_id(year, month + 1), _first_id(*_after(year, month + 1))
    some = sa.text(f"SELECT EXISTS (SELECT 1 FROM events_before WHERE id >= '{lower}' AND id < '{upper}')")  # noqa: S608 - our own
    if even_if_empty or op.get_bind().execute(some).scalar_one():
        name = f"events_{year:04d}_{month + 1:02d}"
        op.execute(f"CREATE TABLE {name} PARTITION OF events FOR VALUES FROM ('{lower}') TO ('{upper}')")


def _move_back() -> None:
    op.execute(f"INSERT INTO events ({COLUMNS}) SELECT {COLUMNS} FROM events_before")  # noqa: S608 - constants
    op.execute("DROP TABLE events_before")


def _after(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)


def _first_id(year: int, month: int) -> str:
    """The least UUIDv7 of the month, as hex digits: its first 48 bits are milliseconds since 1970."""
    return f"{int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000):012x}{0:020x}"
