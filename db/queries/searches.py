"""Searches across a network: the units that prefer a label, and those that somebody's picture excites."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from core.errors import NotFound, nearest
from core.specs import UnitAddress
from db.models import Layer, Network
from db.probe_models import PictureSearch, ProbePass, SearchState, UnitLabel
from db.queries.crops import best_crops
from db.queries.label_words import matching
from db.queries.paging import Finite, View
from db.queries.passes import PassItem, pass_item, require_pass
from db.queries.pictures import Thumbnail, label_of

MOST_LABELS = 50
"""Labels that one search follows up."""
LABELS_SHOWN = 12
"""Labels that an answer without units names."""


class FoundUnit(View):
    """A unit that a search found."""

    layer: str
    unit: int
    address: str  # layer:unit
    label: str | None  # the class it answers for
    thumbnail: Thumbnail | None  # of its best crop


class LabelUnit(FoundUnit):
    """A unit that prefers a label; `effect` is as in `db.queries.answers.LabelItem`."""

    prefers: str
    mean: Finite
    effect: Finite


class LabelSearchView(View):
    """Units by label, the strongest effect first."""

    probe: PassItem
    text: str  # that was searched for
    labels: tuple[str, ...]  # that it means
    items: tuple[LabelUnit, ...]
    more: bool  # whether there are more
    message: str  # why there are none; else empty


class ExcitedUnit(FoundUnit):
    """A unit that a picture excites, compared with its answers to the images of the set."""

    prefers: str | None  # its first label in the set
    activation: Finite
    percentile: Finite  # 0..100: share of the set's images that it answers to less
    deviations: Finite  # above the mean of its answers


class PictureSearchView(View):
    """A search by picture. `units` is empty until it is done."""

    id: str
    probe: PassItem
    owner: str
    state: SearchState
    error: str | None
    picture: str  # its key in the store
    created_at: datetime
    finished_at: datetime | None
    units: tuple[ExcitedUnit, ...]


def search_labels(
    session: Session, network: str, text: str, *, set_name: str | None = None, limit: int = 60
) -> LabelSearchView:
    """Units of every layer that prefer a label which `text` means, each once, the strongest effect first.

    Raises:
        UnknownNetwork: there is no such network.
        NotFound, Conflict: there is no pass over that set.
    """
    row = require_pass(session, network, set_name)
    places = matching(row.set.labels, text)[:MOST_LABELS]
    found = _preferring(session, row, places, limit + 1)
    units = _Units(session, row, [(label.layer_id, label.unit) for label in found[:limit]])
    return LabelSearchView(
        probe=pass_item(row),
        text=text,
        labels=tuple(row.set.labels[place] for place in places),
        items=tuple(
            LabelUnit(
                **units.found(label.layer_id, label.unit),
                prefers=row.set.labels[label.label],
                mean=label.mean,
                effect=label.effect,
            )
            for label in found[:limit]
        ),
        more=len(found) > limit,
        message="" if found else _why_none(row, text, places),
    )


def get_search(session: Session, search_id: str) -> PictureSearchView:
    """The search by picture of that id.

    Raises:
        NotFound: there is none.
    """
    whole = joinedload(PictureSearch.probe).options(joinedload(ProbePass.set), joinedload(ProbePass.network))
    search = session.get(PictureSearch, search_id, options=[whole])
    if search is None:
        raise NotFound(f"There is no search {search_id!r}.", "Send the picture again.")
    places = [(layer_id, unit) for layer_id, unit, *_ in search.result]
    units = _Units(session, search.probe, places)
    prefers = _first_labels(session, search.probe, places)
    return PictureSearchView(
        id=search.id,
        probe=pass_item(search.probe),
        owner=search.owner,
        state=SearchState(search.state),
        error=search.error,
        picture=search.key,
        created_at=search.created_at,
        finished_at=search.finished_at,
        units=tuple(
            ExcitedUnit(
                **units.found(layer_id, unit),
                prefers=prefers.get((layer_id, unit)),
                activation=activation,
                percentile=percentile,
                deviations=deviations,
            )
            for layer_id, unit, activation, percentile, deviations in search.result
        ),
    )


def _preferring(session: Session, row: ProbePass, places: Sequence[int], limit: int) -> list[UnitLabel]:
    """What the units prefer among some labels: of a unit that prefers several the one with the strongest effect."""
    if not places:
        return []
    statement = (
        select(UnitLabel)
        .where(UnitLabel.pass_id == row.id, UnitLabel.label.in_(places), UnitLabel.effect > 0)
        .order_by(UnitLabel.effect.desc(), UnitLabel.layer_id, UnitLabel.unit)
        .limit(limit * len(places))  # a unit comes once for each label at most: so many hold enough units
    )
    found: dict[tuple[int, int], UnitLabel] = {}
    for label in session.scalars(statement):
        found.setdefault((label.layer_id, label.unit), label)
    return list(found.values())[:limit]


def _first_labels(session: Session, row: ProbePass, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """What each (layer id, unit) prefers most."""
    statement = select(UnitLabel.layer_id, UnitLabel.unit, UnitLabel.label).where(
        UnitLabel.pass_id == row.id,
        UnitLabel.layer_id.in_({layer_id for layer_id, _ in places}),
        UnitLabel.unit.in_({unit for _, unit in places}),
        UnitLabel.rank == 0,
        UnitLabel.effect > 0,
    )
    return {(layer_id, unit): row.set.labels[label] for layer_id, unit, label in session.execute(statement)}


def _why_none(row: ProbePass, text: str, places: Sequence[int]) -> str:
    labels = row.set.labels
    if not labels:
        return f"The images of {row.set.name} have no labels: register a set whose folders are named by them."
    if places:
        return f"No unit prefers {' or '.join(labels[place] for place in places)} to the rest of {row.set.name}."
    if len(labels) <= LABELS_SHOWN:
        return f"No label of {row.set.name} has {text!r} in it. They are {', '.join(labels)}."
    return f"No label of {row.set.name} has {text!r} in it. {nearest(text, labels)}"


class _Units:
    """Names and thumbnails of units that a search found: two statements, however many there are."""

    def __init__(self, session: Session, row: ProbePass, places: Sequence[tuple[int, int]]) -> None:
        ids = {layer_id for layer_id, _ in places}
        self.layers = {layer.id: layer for layer in session.scalars(select(Layer).where(Layer.id.in_(ids)))}
        self.network: Network = row.network
        self.crops = best_crops(session, row.id, places)

    def found(self, layer_id: int, unit: int) -> dict[str, object]:
        """The fields of a `FoundUnit`."""
        layer = self.layers[layer_id]
        return {
            "layer": layer.name,
            "unit": unit,
            "address": str(UnitAddress(layer=layer.name, unit=unit)),
            "label": label_of(self.network, layer, unit),
            "thumbnail": self.crops.get((layer_id, unit)),
        }
