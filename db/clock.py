"""The one clock of the system: the database's, so that machines whose clocks differ agree on who is late."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

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
