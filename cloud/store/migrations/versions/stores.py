"""Pictures that go at their term, erasures that last, and what the housekeeper did."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "stores"
down_revision: str | None = "doors"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Go forward."""
    op.add_column("crops", sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_crops_jpeg_digest", "crops", ["jpeg_digest"])
    op.create_index("ix_crops_received_at", "crops", ["received_at"])
    op.create_table(
        "doomed",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleting", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_doomed"),
    )
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device", sa.String(39)),
        sa.Column("crop", sa.Uuid()),
        sa.Column("start", sa.DateTime(timezone=True)),
        sa.Column("end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("events", sa.Boolean(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_erasures"),
    )
    op.create_table(
        "tombstones",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tombstones"),
    )
    op.create_table(
        "upkeep",
        sa.Column("subject", sa.String(30), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_upkeep"),
    )


def downgrade() -> None:
    """Forget them; crops whose picture is gone stay as rows."""
    for table in ("upkeep", "tombstones", "erasures", "doomed"):
        op.drop_table(table)
    for index in ("ix_crops_received_at", "ix_crops_jpeg_digest"):
        op.drop_index(index, table_name="crops")
    op.drop_column("crops", "gone_at")
