"""Alembic's scripts, one step a file."""
