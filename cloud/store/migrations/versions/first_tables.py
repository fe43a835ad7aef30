"""The first tables: devices, passes and their hour counts, crops, quarantine."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "changes",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_changes"),
    )
    op.create_table(
        "consumers",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("alive_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_consumers"),
    )
    op.create_table(
        "devices",
        sa.Column("name", sa.String(39), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(10), nullable=True),
        sa.Column("boot", sa.Uuid(), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("uptime_s", sa.Float(), nullable=False, server_default="0"),
        sa.Column("release", sa.BigInteger(), nullable=True),
        sa.Column("accelerator", sa.String(10), nullable=True),
        sa.Column("fps", sa.Float(), nullable=False, server_default="0"),
        sa.Column("frames", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("frames_dropped", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("waiting", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("waiting_bytes", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("events_lost", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("crops_lost", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("trouble", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_devices"),
    )
    op.create_table(
        "quarantine",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deliveries", sa.BigInteger(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("device", sa.String(39), nullable=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("things", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_quarantine"),
    )
    op.create_index("ix_quarantine_received_at", "quarantine", ["received_at"])
    op.create_table(
        "boots",
        sa.Column("device", sa.String(39), nullable=False),
        sa.Column("boot", sa.Uuid(), nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.BigInteger(), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name="fk_boots_device"),
        sa.PrimaryKeyConstraint("device", "boot", name="pk_boots"),
    )
    op.create_table(
        "crops",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device", sa.String(39), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("window", sa.Uuid(), nullable=False),
        sa.Column("jpeg_digest", sa.String(64), nullable=False),
        sa.Column("jpeg_bytes", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("header", sa.JSON(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(16), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name="fk_crops_device"),
        sa.PrimaryKeyConstraint("id", name="pk_crops"),
    )
    op.create_index("ix_crops_device_at", "crops", ["device", "at"])
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
    )
    op.create_index("ix_events_device_at", "events", ["device", "at"])
    op.create_table(
        "hours",
        sa.Column("device", sa.String(39), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("direction", sa.String(3), nullable=False),
        sa.Column("label", sa.String(30), nullable=False),
        sa.Column("release", sa.BigInteger(), nullable=False),
        sa.Column("accelerator", sa.String(10), nullable=False),
        sa.Column("passes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name="fk_hours_device"),
        sa.PrimaryKeyConstraint("device", "hour", "direction", "label", "release", "accelerator", name="pk_hours"),
    )
    op.create_index("ix_hours_hour", "hours", ["hour"])
    op.execute("INSERT INTO changes (id, number) VALUES (1, 0)")


def downgrade() -> None:
    """Go back to an empty database."""
    for table in ("changes", "consumers", "quarantine", "crops", "hours", "boots", "events", "devices"):
        op.drop_table(table)
