"""Events no longer check that their device is known: whoever writes them writes it, in the same transaction."""

from collections.abc import Sequence

from alembic import op

revision: str = "unchecked"
down_revision: str | None = "stores"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = "fk_events_device"


def upgrade() -> None:
    """Go forward; SQLite copies the table."""
    with op.batch_alter_table("events") as events:
        events.drop_constraint(NAME, type_="foreignkey")


def downgrade() -> None:
    """Go back; both databases read the whole table."""
    with op.batch_alter_table("events") as events:
        events.create_foreign_key(NAME, "devices", ["device"], ["name"])
