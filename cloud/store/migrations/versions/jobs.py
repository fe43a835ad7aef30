"""Machines' tokens and the jobs of the trainer."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "tokens",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("sha256", name="pk_tokens"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("in_flight", sa.Boolean()),
        sa.Column("snapshot", sa.String(64)),
        sa.Column("release", sa.BigInteger(), nullable=False),
        sa.Column("champion", sa.BigInteger(), nullable=False),
        sa.Column("again", sa.BigInteger()),
        sa.Column("reason", sa.String(300), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("lease", sa.Uuid()),
        sa.Column("worker", sa.String(63)),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("stage", sa.String(30), nullable=False, server_default=""),
        sa.Column("done", sa.Float(), nullable=False, server_default="0"),
        sa.Column("curve", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.JSON()),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("in_flight", name="uq_jobs_in_flight"),
    )
    op.create_index("ix_jobs_made_at", "jobs", ["made_at"])


def downgrade() -> None:
    """Forget them."""
    for table in ("jobs", "tokens"):
        op.drop_table(table)
