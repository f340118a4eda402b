"""Alembic's environment, run through `db.migrate`.

A new revision is a file in `versions` named for its number and what it does, written by hand; a test compares what
all of them give with `db.models`, on both databases, and says what is still different.
"""
