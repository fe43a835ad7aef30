"""Coverage, a line in every count, what a machine says of itself, and the views for other programs."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "counts"
down_revision: str | None = "accounts"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KEY = ("device", "hour", "direction", "label", "release", "accelerator")
VIEWS = {
    "counts_hourly": ("SELECT device AS door, hour, line, direction, label, release, accelerator, passes FROM hours"),
    "coverage_hourly": "SELECT device AS door, hour, open_minutes, seen_minutes, clock_synchronised FROM coverage",
}


def upgrade() -> None:
    """Go forward."""
    op.add_column("devices", sa.Column("board", sa.JSON()))
    op.add_column("devices", sa.Column("drift", sa.Float()))
    op.add_column("events", sa.Column("line", sa.String(39), nullable=False, server_default=""))
    _key_of_hours("line", *KEY)
    op.create_index(
        "ix_boots_gaps", "boots", ["device"],
        sqlite_where=sa.text("expected > stored"), postgresql_where=sa.text("expected > stored"),
    )  # fmt: skip
    op.create_table(
        "coverage",
        sa.Column("device", sa.String(39), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open_minutes", sa.SmallInteger(), nullable=False),
        sa.Column("seen_minutes", sa.SmallInteger(), nullable=False),
        sa.Column("clock_synchronised", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name="fk_coverage_device"),
        sa.PrimaryKeyConstraint("device", "hour", name="pk_coverage"),
    )
    op.create_index("ix_coverage_hour", "coverage", ["hour"])
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    """Go back; a camera's lines are added up again."""
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    op.drop_table("coverage")
    op.drop_index("ix_boots_gaps", "boots")
    _key_of_hours("", *KEY)
    for table, column in (("events", "line"), ("devices", "drift"), ("devices", "board")):
        op.execute(
            f"ALTER TABLE {table} DROP COLUMN {column}"
        )  # both know it; Alembic's way would drop the whole table


def _key_of_hours(line: str, *key: str) -> None:
    """A new table with or without a line in its key: SQLite cannot change the key of one that is there."""
    columns: list[sa.Column[Any]] = [
        sa.Column("device", sa.String(39), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("direction", sa.String(3), nullable=False),
        sa.Column("label", sa.String(30), nullable=False),
        sa.Column("release", sa.BigInteger(), nullable=False),
        sa.Column("accelerator", sa.String(10), nullable=False),
        *([sa.Column("line", sa.String(39), nullable=False, server_default="")] if line else []),
        sa.Column("passes", sa.BigInteger(), nullable=False),
    ]
    op.drop_index("ix_hours_hour", "hours")
    op.rename_table("hours", "hours_before")
    if op.get_bind().dialect.name == "postgresql":  # its constraints' names are the schema's, SQLite's the table's
        op.drop_constraint("pk_hours", "hours_before", type_="primary")
        op.drop_constraint("fk_hours_device", "hours_before", type_="foreignkey")
    op.create_table(
        "hours",
        *columns,
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name="fk_hours_device"),
        sa.PrimaryKeyConstraint(*key, *([line] if line else []), name="pk_hours"),
    )
    names = ", ".join(key)
    op.execute(
        f"INSERT INTO hours ({names}, passes) SELECT {names}, sum(passes) FROM hours_before GROUP BY {names}"  # noqa: S608 - our own names
    )
    op.drop_table("hours_before")
    op.create_index("ix_hours_hour", "hours", ["hour"])
