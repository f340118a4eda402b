"""What is left of deleted probe sets goes, some rows at a time: their images, and all that was found out with them."""

from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, inspect, select, tuple_
from sqlalchemy.orm import Session

from db.models import Base
from db.probe_models import (
    PassLayer,
    PassPart,
    PictureSearch,
    ProbeImage,
    ProbePass,
    ProbeSet,
    ProbeSetState,
    ProbeSkip,
    TopImage,
    UnitAnswers,
    UnitLabel,
    UnitView,
)

ROWS = 1000
"""Deleted in one transaction."""
_OF_A_PASS: tuple[type[Any], ...] = (PictureSearch, UnitView, TopImage, UnitLabel, UnitAnswers, PassLayer, PassPart)
_OF_A_SET: tuple[type[Any], ...] = (ProbeImage, ProbeSkip)


def is_something_left(session: Session) -> bool:
    """Whether there is something to delete."""
    return session.scalar(_unfinished()) is not None


def forget_deleted(session: Session) -> bool:
    """Delete some rows of a deleted set; False if there is nothing to delete, or somebody else is at it.

    The row of the set itself stays where a pass names it.
    """
    set_id = session.scalar(_unfinished().with_for_update(skip_locked=True))
    if set_id is None:
        return False
    if not _forget_some(session, set_id):
        _end(session, session.get_one(ProbeSet, set_id))
    return True


def _unfinished() -> Select[str]:
    used = exists().where(ProbePass.set_id == ProbeSet.id)
    something = (ProbeSet.images + ProbeSet.skipped + ProbeSet.duplicates > 0) | ~used
    statement = select(ProbeSet.id).where(ProbeSet.state == ProbeSetState.DELETED, something)
    return statement.order_by(ProbeSet.id).limit(1)


def _forget_some(session: Session, set_id: str) -> bool:
    """Whether there was something to delete."""
    for pass_id in session.scalars(select(ProbePass.id).where(ProbePass.set_id == set_id)).all():
        if any(_delete_some(session, table, table.pass_id == pass_id) for table in _OF_A_PASS):
            return True
    return any(_delete_some(session, table, table.set_id == set_id) for table in _OF_A_SET)


def _delete_some(session: Session, table: type[Base], of_it: ColumnElement[bool]) -> bool:
    key = inspect(table).primary_key
    some = select(*key).where(of_it).limit(ROWS)
    gone = delete(table).where(tuple_(*key).in_(some)).returning(*key)
    return bool(session.execute(gone.execution_options(synchronize_session=False)).all())


def _end(session: Session, found: ProbeSet) -> None:
    if session.scalar(select(exists().where(ProbePass.set_id == found.id))):
        found.images = found.skipped = found.duplicates = found.bytes = 0
    else:
        session.delete(found)
