"""Who has which duty, when what servers hold ends, and when a door's certificate does."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "duties"
down_revision: str | None = "unchecked"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "duties",
        sa.Column("duty", sa.String(20), nullable=False),
        sa.Column("holder", sa.String(100), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("beat_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("duty", name="pk_duties"),
    )
    op.create_table(
        "endings",
        sa.Column("kind", sa.String(30), nullable=False),
        sa.Column("subject", sa.String(120), nullable=False),
        sa.Column("ends_at", INSTANT, nullable=False),
        sa.Column("told_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name="pk_endings"),
    )
    op.add_column("vitals", sa.Column("certificate_ends", INSTANT))


def downgrade() -> None:
    """Forget them."""
    with op.batch_alter_table("vitals") as batch:
        batch.drop_column("certificate_ends")
    op.drop_table("endings")
    op.drop_table("duties")
