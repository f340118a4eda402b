"""The one clock of the system: the database's, so that machines whose clocks differ agree on who is late."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import DateTime, Float, bindparam, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

_NOW = {
    "sqlite": text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"),
    # Not now(): that is the start of the transaction, which may have waited for a lock since.
    "postgresql": text("SELECT clock_timestamp()"),
}


def now(session: Session) -> datetime:
    """The database's time, timezone-aware UTC."""
    value = session.execute(_NOW[session.get_bind().dialect.name]).scalar_one()
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    moment: datetime = value
    return moment.astimezone(UTC)


def after(moment: datetime, seconds: float) -> datetime:
    """`seconds` later than `moment` (earlier if negative)."""
    return moment + timedelta(seconds=seconds)


class later(FunctionElement[datetime]):  # noqa: N801  # reads like a function
    """In a statement: so many seconds after it began to run, by the database's clock. Negative: before.

    Saves asking for the time first. A statement that waits for a lock counts from before it: what it gives out runs out
    early rather than late.
    """

    type = DateTime(timezone=True)
    inherit_cache = True

    def __init__(self, seconds: float | str) -> None:
        """A text names the parameter that will say how many."""
        if isinstance(seconds, str):
            super().__init__(bindparam(seconds, type_=Float))
        else:
            super().__init__(bindparam(None, seconds, type_=Float))


@compiles(later, "postgresql")
def _later_on_postgresql(element: later, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(statement_timestamp() + make_interval(secs => {seconds}))"


@compiles(later, "sqlite")
def _later_on_sqlite(element: later, compiler: SQLCompiler, **options: Any) -> str:
    # In the form in which SQLAlchemy stores moments: they are compared as texts.
    seconds = compiler.process(element.clauses, **options)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', printf('%.3f', {seconds}) || ' seconds') || '000')"
