"""Boots and coverage lie as pages read them: boots by when they were first heard of, SQLite's coverage by door and hour."""

from collections.abc import Sequence

from alembic import op

revision: str = "reading"
down_revision: str | None = "duties"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = "ix_boots_device_first_seen"


def upgrade() -> None:
    """Go forward; SQLite copies coverage."""
    op.create_index(NAME, "boots", ["device", "first_seen"])
    _keep_rowids(False)


def downgrade() -> None:
    """Go back."""
    _keep_rowids(True)
    op.drop_index(NAME, "boots")


def _keep_rowids(keep: bool) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("PRAGMA legacy_alter_table = ON")  # else the renaming looks for views, while their table is away
        with op.batch_alter_table("coverage", recreate="always", table_kwargs={"sqlite_with_rowid": keep}):
            pass
        op.execute("PRAGMA legacy_alter_table = OFF")
