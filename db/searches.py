"""Commands on searches by picture: asked for, taken up by a worker, finished or given up."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from core.errors import NotFound, OverQuota
from core.specs import LOCAL_OWNER
from db import clock, ids
from db.models import MAX_ERROR_CHARACTERS
from db.probe_models import PictureSearch, SearchState

STALE_SECONDS = 60
"""A search asked for, or taken up, longer ago than this, and not answered, may be asked for again."""
MOST_OPEN = 16
"""Searches of one owner that may wait for an answer."""
KEPT_SECONDS = 7 * 24 * 3600.0
"""So long a search and its picture are kept."""
MOST_SIDE = 1024
"""Pixels that are kept of a picture's longer side: networks take fewer."""
MOST_UNITS = 100
"""Units that are kept of an answer."""

Excited = tuple[int, int, float, float, float]
"""(layer id, unit, activation, percentile 0..100 in the set, deviations above the mean), the most excited first."""


def create(session: Session, pass_id: int, key: str, owner: str = LOCAL_OWNER) -> PictureSearch:
    """A search for what the picture at `key` in the store excites, compared with a merged pass.

    Raises:
        OverQuota: the owner's other searches wait for too many answers.
    """
    waiting = select(func.count()).where(PictureSearch.owner == owner, PictureSearch.state == SearchState.QUEUED)
    if (session.scalar(waiting) or 0) >= MOST_OPEN:
        raise OverQuota(f"{MOST_OPEN} searches of {owner!r} wait for an answer.", "Wait for one of them.")
    moment = clock.now(session)
    search = PictureSearch(
        id=ids.time_ordered(moment),
        pass_id=pass_id,
        owner=owner,
        key=key,
        state=SearchState.QUEUED,
        requested_at=moment,
        created_at=moment,
    )
    session.add(search)
    session.flush()
    return search


def begin(session: Session, search_id: str, max_attempts: int) -> PictureSearch | None:
    """Count an attempt; the search, or None if nobody should make it (any more), or somebody has just taken it up.

    A picture that takes its worker down with it would otherwise be tried for ever.

    Raises:
        NotFound: there is no such search.
    """
    search = _lock(session, search_id)
    moment = clock.now(session)
    if search.state != SearchState.QUEUED or _is_at_it(search, moment):
        return None
    if search.attempts >= max_attempts:
        _end(session, search, SearchState.FAILED)
        search.error = f"Looking at the picture ended its worker {search.attempts} times."
        return None
    search.attempts, search.begun_at = search.attempts + 1, moment
    return search


def leave(session: Session, search_id: str) -> None:
    """Leave a search to whoever comes next, as something around it does not work; the attempt does not count."""
    search = _lock(session, search_id)
    if search.state == SearchState.QUEUED:
        search.attempts, search.begun_at = max(0, search.attempts - 1), None


def finish(session: Session, search_id: str, result: Sequence[Excited]) -> None:
    """Keep the answer, also one that comes after the search was given up; one that comes twice changes nothing."""
    search = _lock(session, search_id)
    if search.state != SearchState.DONE:
        _end(session, search, SearchState.DONE)
        search.error, search.result = None, [list(unit) for unit in result[:MOST_UNITS]]


def fail(session: Session, search_id: str, error: str) -> None:
    """Note why there is no answer; a search that is answered stays so."""
    search = _lock(session, search_id)
    if search.state == SearchState.QUEUED:
        _end(session, search, SearchState.FAILED)
        search.error = error[:MAX_ERROR_CHARACTERS]


def take_unanswered(session: Session, *, stale_seconds: float = STALE_SECONDS, limit: int = 10) -> list[str]:
    """Ids of searches still to be made, asked for over `stale_seconds` ago; noted as asked for now."""
    moment = clock.now(session)
    stale = clock.after(moment, -stale_seconds)
    wanted = (
        select(PictureSearch.id)
        .where(PictureSearch.state == SearchState.QUEUED, PictureSearch.requested_at < stale)
        .where(or_(PictureSearch.begun_at.is_(None), PictureSearch.begun_at < stale))
        .order_by(PictureSearch.requested_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = session.scalars(wanted).all()
    asked = update(PictureSearch).where(PictureSearch.id.in_(found)).values(requested_at=moment)
    return list(session.scalars(asked.returning(PictureSearch.id))) if found else []


def forget(session: Session) -> None:
    """Delete searches that are older than they are kept; the sweep finds their pictures."""
    old = PictureSearch.created_at < clock.after(clock.now(session), -KEPT_SECONDS)
    session.execute(delete(PictureSearch).where(old).execution_options(synchronize_session=False))


def _is_at_it(search: PictureSearch, moment: datetime) -> bool:
    return search.begun_at is not None and search.begun_at > clock.after(moment, -STALE_SECONDS)


def _end(session: Session, search: PictureSearch, state: SearchState) -> None:
    search.state, search.finished_at = state, clock.now(session)


def _lock(session: Session, search_id: str) -> PictureSearch:
    statement = select(PictureSearch).where(PictureSearch.id == search_id).with_for_update()
    search = session.scalar(statement.execution_options(populate_existing=True))
    if search is None:
        raise NotFound(f"There is no search {search_id!r}.", "Send the picture again.")
    return search
