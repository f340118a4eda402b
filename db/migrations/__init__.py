"""Alembic's environment; run through `db.migrate`."""
