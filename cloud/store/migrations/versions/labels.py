"""Labels as events, who holds which crop, and the snapshots made of them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "labels",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("crop", sa.Uuid(), nullable=False),
        sa.Column("labeller", sa.String(60), nullable=False),
        sa.Column("answer", sa.String(30)),
        sa.Column("undoes", sa.Uuid()),
        sa.Column("box", sa.JSON()),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("took_ms", sa.Integer(), nullable=False),
        sa.Column("prediction_seen", sa.Boolean(), nullable=False),
        sa.Column("guideline", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["crop"], ["crops.id"], name="fk_labels_crop"),
        sa.ForeignKeyConstraint(["undoes"], ["labels.id"], name="fk_labels_undoes"),
        sa.PrimaryKeyConstraint("id", name="pk_labels"),
        sa.UniqueConstraint("undoes", name="uq_labels_undoes"),
    )
    op.create_index("ix_labels_crop", "labels", ["crop"])
    op.create_table(
        "leases",
        sa.Column("crop", sa.Uuid(), nullable=False),
        sa.Column("labeller", sa.String(60), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["crop"], ["crops.id"], name="fk_leases_crop"),
        sa.PrimaryKeyConstraint("crop", name="pk_leases"),
    )
    op.create_table(
        "snapshots",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("examples", sa.Integer(), nullable=False),
        sa.Column("tally", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_snapshots"),
    )


def downgrade() -> None:
    """Forget them."""
    for table in ("snapshots", "leases", "labels"):
        op.drop_table(table)
