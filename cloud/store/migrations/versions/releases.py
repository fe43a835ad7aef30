"""Releases, rollouts, what doors should run and what they say they run."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "releases",
        sa.Column("number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("job", sa.Uuid()),
        sa.Column("again", sa.BigInteger()),
        sa.PrimaryKeyConstraint("number", name="pk_releases"),
    )
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("release", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("group", sa.String(10), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("group_began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.ForeignKeyConstraint(["release"], ["releases.number"], name="fk_rollouts_release"),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
        sa.UniqueConstraint("release", name="uq_rollouts_release"),
    )
    op.create_table(
        "doors_desired",
        sa.Column("device", sa.String(39), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("published_number", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("release", sa.BigInteger(), nullable=False),
        sa.Column("sampling", sa.JSON()),
        sa.Column("group", sa.String(10), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name="fk_doors_desired_device"),
        sa.PrimaryKeyConstraint("device", name="pk_doors_desired"),
    )
    op.create_table(
        "reported",
        sa.Column("device", sa.String(39), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("release", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("step", sa.String(15), nullable=False),
        sa.Column("wanted", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name="fk_reported_device"),
        sa.PrimaryKeyConstraint("device", name="pk_reported"),
    )


def downgrade() -> None:
    """Forget them."""
    for table in ("reported", "doors_desired", "rollouts", "releases"):
        op.drop_table(table)
