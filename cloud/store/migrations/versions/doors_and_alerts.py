"""Sites, what people say of doors, what doors are told of it, and alerts."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "doors"
down_revision: str | None = "counts"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Go forward."""
    op.add_column("doors_desired", sa.Column("door", sa.JSON()))
    op.add_column("doors_desired", sa.Column("opening", sa.JSON()))
    op.create_table(
        "sites",
        sa.Column("slug", sa.String(39), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("time_zone", sa.String(60), nullable=False),
        sa.Column("week", sa.JSON(), nullable=False),
        sa.Column("closed", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("slug", name="pk_sites"),
    )
    op.create_table(
        "doors",
        sa.Column("device", sa.String(39), nullable=False),
        sa.Column("title", sa.String(80), nullable=False),
        sa.Column("site", sa.String(39)),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("installed_at", sa.Date()),
        sa.Column("plan", sa.JSON()),
        sa.Column("sampling", sa.JSON()),
        sa.Column("week", sa.JSON()),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name="fk_doors_device"),
        sa.ForeignKeyConstraint(["site"], ["sites.slug"], name="fk_doors_site"),
        sa.PrimaryKeyConstraint("device", name="pk_doors"),
    )
    op.create_index("ix_doors_site", "doors", ["site"])
    op.create_table(
        "vitals",
        sa.Column("device", sa.String(39), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("lag_s", sa.Float()),
        sa.Column("temperature_c", sa.Float()),
        sa.Column("coverage_today", sa.Float()),
        sa.Column("words", sa.JSON(), nullable=False),
        sa.Column("edgetpu_at", INSTANT),
        sa.Column("events_lost", sa.BigInteger(), nullable=False),
        sa.Column("losing_at", INSTANT),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name="fk_vitals_device"),
        sa.PrimaryKeyConstraint("device", name="pk_vitals"),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(30), nullable=False),
        sa.Column("subject", sa.String(120), nullable=False),
        sa.Column("open", sa.Boolean()),
        sa.Column("door", sa.String(39)),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("reminded_at", INSTANT, nullable=False),
        sa.Column("closed_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.UniqueConstraint("kind", "subject", "open", name="uq_alerts_kind"),
    )
    op.create_index("ix_alerts_opened_at", "alerts", ["opened_at"])
    op.create_table(
        "alert_messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("alert", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(10), nullable=False),
        sa.Column("target", sa.String(400), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("made_at", INSTANT, nullable=False),
        sa.Column("next_at", INSTANT),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("sent_at", INSTANT),
        sa.Column("error", sa.Text(), nullable=False, server_default=""),
        sa.ForeignKeyConstraint(["alert"], ["alerts.id"], name="fk_alert_messages_alert"),
        sa.PrimaryKeyConstraint("id", name="pk_alert_messages"),
    )
    op.create_index("ix_alert_messages_next_at", "alert_messages", ["next_at"])
    op.create_table(
        "announced",
        sa.Column("prefix", sa.String(40), nullable=False),
        sa.Column("device", sa.String(39), nullable=False),
        sa.PrimaryKeyConstraint("prefix", "device", name="pk_announced"),
    )


def downgrade() -> None:
    """Forget them."""
    for table in ("announced", "alert_messages", "alerts", "vitals", "doors", "sites"):
        op.drop_table(table)
    with op.batch_alter_table("doors_desired") as batch:
        batch.drop_column("opening")
        batch.drop_column("door")
