"""What the rows name in the picture store. No memory is taken for rows, however many there are."""

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.activation_models import ActivationFile
from db.models import Network, Picture
from db.queries.paging import View

ROWS_AT_ONCE = 10_000


class Named(View):
    """A row that names a key."""

    key: str
    what: str  # "picture", "sheet", "activations" or "weights"
    row: str  # id of the picture or of the activations, name of the network


_NAMING = (
    ("picture", Picture.id, Picture.blob),
    ("sheet", Picture.id, Picture.sheet),
    ("activations", ActivationFile.job_id, ActivationFile.key),
)


def keys(session: Session, prefix: str = "") -> Iterator[str]:
    """Every key beginning with `prefix` that some row names, in no particular order, some of them several times."""
    for _, _, column in _NAMING:
        yield from _streamed(session, select(column).where(column.like(f"{prefix}%")))
    yield from (key for _, key in _checkpoints(session) if key.startswith(prefix))


def among(session: Session, wanted: Collection[str]) -> list[Named]:
    """The rows that name one of the `wanted` keys (at most some hundreds)."""
    found = [
        Named(key=key, what=what, row=str(row))
        for what, owner, column in _NAMING
        for row, key in session.execute(select(owner, column).where(column.in_(wanted)))
    ]
    weights = [Named(key=key, what="weights", row=name) for name, key in _checkpoints(session) if key in wanted]
    return found + weights


def _checkpoints(session: Session) -> Iterator[tuple[str, str]]:
    """Names and checkpoints of the networks that have one."""
    for name, source in session.execute(select(Network.name, Network.source)):
        if source.get("checkpoint"):
            yield name, source["checkpoint"]


def _streamed(session: Session, statement: Select[Any]) -> Iterator[Any]:
    return iter(session.scalars(statement.execution_options(yield_per=ROWS_AT_ONCE)))
