"""Things that one worker, any, does for all of them every so often: no scheduler is needed, nothing is done twice."""

from collections.abc import Mapping

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db import clock
from db.bulk import insert_missing
from db.models import Chore

REAP = "reap"
CONTROL = "control"
FORGET = "forget"
PURGE = "purge"
"""Delete what is left of deleted probe sets."""
LOOK = "look"
"""Look for shards without a message, even if nothing has just happened."""
DISPATCH = "dispatch"
"""Held while messages are sent, not claimed."""


_NOT_DUE = select(Chore.name).where(Chore.due_at > clock.later(0))


def claim(session: Session, every_seconds: Mapping[str, float]) -> set[str]:
    """Those of the chores that are due and now the caller's to do; each is due again after its seconds."""
    # Looked at before anything is locked: 200 workers ask, and one of them is given it.
    not_due = set(session.connection().scalars(_NOT_DUE))
    return {name for name in sorted(every_seconds.keys() - not_due) if _claim(session, name, every_seconds[name])}


def hold(session: Session, name: str) -> bool:
    """Be the only one who does the chore until the transaction ends; False if somebody else is at it."""
    insert_missing(session, Chore, [{"name": name, "due_at": clock.now(session)}])
    row = select(Chore.name).where(Chore.name == name).with_for_update(skip_locked=True)
    return session.scalar(row) is not None


def _claim(session: Session, name: str, every_seconds: float) -> bool:
    moment = clock.now(session)
    insert_missing(session, Chore, [{"name": name, "due_at": clock.after(moment, -1)}])
    mine = update(Chore).where(Chore.name == name, Chore.due_at <= moment)
    taken = mine.values(due_at=clock.after(moment, every_seconds)).returning(Chore.name)
    return session.scalar(taken.execution_options(synchronize_session=False)) is not None
