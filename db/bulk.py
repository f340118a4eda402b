"""Inserts that leave existing rows alone, on either database."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar, cast

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.models import Base

Insert = postgresql.Insert | sqlite.Insert
Item = TypeVar("Item")

CHUNK_ROWS = 1000


def dialect_insert(session: Session, table: type[Base]) -> Insert:
    """An INSERT of `table` that can say ON CONFLICT, for the session's database."""
    return insert_on(session.get_bind().dialect.name, table)


def insert_on(dialect: str, table: type[Base]) -> Insert:
    """The same for a dialect by name, "postgresql" or "sqlite"."""
    rows = cast(Table, table.__table__)
    return postgresql.insert(rows) if dialect == "postgresql" else sqlite.insert(rows)


def insert_missing(session: Session, table: type[Base], rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert the rows whose unique keys are not there yet; the others are left as they are.

    Concurrent transactions must give rows in the same order, or they may deadlock.
    """
    statement = dialect_insert(session, table).on_conflict_do_nothing()
    for chunk in chunks(rows, CHUNK_ROWS):
        session.connection().execute(statement, chunk)


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of at most `size`, read as they are needed."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
