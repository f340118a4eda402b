"""What the rows name in the picture store. No memory is taken for rows, however many there are."""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.activation_models import ActivationFile
from db.models import Network, Picture
from db.probe_models import PassLayer, PassPart, PictureSearch, ProbeImage, ProbeSet, UnitView
from db.queries.paging import View

ROWS_AT_ONCE = 10_000


class Named(View):
    """A row that names a key."""

    key: str
    what: str  # such as "picture", "sheet" or "weights"
    row: str  # id of the picture, name of the network, a probe set's id and an image's number ...


class _Place(NamedTuple):
    """A column that names keys, and those that say which row it is."""

    what: str
    key: InstrumentedAttribute[Any]
    row: tuple[InstrumentedAttribute[Any], ...]


_UNIT = (UnitView.pass_id, UnitView.layer_id, UnitView.unit, UnitView.side, UnitView.kind)
_PLACES = (
    _Place("picture", Picture.blob, (Picture.id,)),
    _Place("sheet", Picture.sheet, (Picture.id,)),
    _Place("probe image", ProbeImage.key, (ProbeImage.set_id, ProbeImage.number)),
    _Place("pass part", PassPart.blob, (PassPart.pass_id, PassPart.first)),
    _Place("pass layer", PassLayer.blob, (PassLayer.pass_id, PassLayer.layer_id)),
    _Place("unit view", UnitView.blob, _UNIT),
    _Place("sheet of crops", UnitView.sheet, _UNIT),
    _Place("activations", ActivationFile.key, (ActivationFile.job_id, ActivationFile.name, ActivationFile.part)),
    _Place("search", PictureSearch.key, (PictureSearch.id,)),
)


def keys(session: Session, prefix: str = "") -> Iterator[str]:
    """Every key beginning with `prefix` that some row names, in no particular order, some of them several times."""
    for place in _PLACES:
        yield from _streamed(session, _stored(select(place.key).where(place.key.like(f"{prefix}%")), place))
    yield from (key for _, key in _checkpoints(session) if key.startswith(prefix))


def among(session: Session, wanted: Collection[str]) -> list[Named]:
    """The rows that name one of the `wanted` keys (at most some hundreds)."""
    found = [
        Named(key=key, what=place.what, row="/".join(map(str, row)))
        for place in _PLACES
        for key, *row in session.execute(_stored(select(place.key, *place.row).where(place.key.in_(wanted)), place))
    ]
    weights = [Named(key=key, what="weights", row=name) for name, key in _checkpoints(session) if key in wanted]
    return found + weights


def _stored(statement: Select[Any], place: _Place) -> Select[Any]:
    """Without the images of sets that are in place: those are named, and are not in the store."""
    if place.key is not ProbeImage.key:
        return statement
    return statement.join(ProbeSet, ProbeSet.id == ProbeImage.set_id).where(ProbeSet.root.is_(None))


def _checkpoints(session: Session) -> Iterator[tuple[str, str]]:
    """Names and checkpoints of the networks that have one."""
    for name, source in session.execute(select(Network.name, Network.source)):
        if source.get("checkpoint"):
            yield name, source["checkpoint"]


def _streamed(session: Session, statement: Select[Any]) -> Iterator[Any]:
    return iter(session.scalars(statement.execution_options(yield_per=ROWS_AT_ONCE)))
