"""Reads across a whole network: a strip of thumbnails for every layer, and units by their label."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, select, union_all
from sqlalchemy.orm import Session, contains_eager

from core.specs import LayerInfo
from db import networks
from db.bulk import chunks
from db.models import Layer, Network, NetworkState, Picture, PictureState
from db.queries.paging import View
from db.queries.recipes import RecipeItem, recipes_of_layers
from db.queries.unit_items import Shown, UnitItem, shown_pictures, unit_item

LAYERS_AT_ONCE = 100
"""Layers whose pictures one statement asks for: SQLite takes no more than 500 parts."""


class LayerStrip(View):
    """A layer with the first units that have pictures of the recipe shown; none yet: no recipe, no items."""

    layer: LayerInfo
    recipe: RecipeItem | None
    items: tuple[UnitItem, ...]


class LabelHit(View):
    """A unit that answers for a label that was searched."""

    network: str
    layer: str
    item: UnitItem


def layer_strip(
    session: Session, network: str, *, recipe_hash: str | None = None, limit: int = 16, last: int | None = None
) -> tuple[LayerStrip, ...]:
    """Every layer in forward order, each with up to `limit` thumbnails; units with a picture come before dead ones.

    They are of the recipe named (a layer without it has no items), else of the first that each layer has. With `last`
    only so many layers have items: the last ones that have pictures.

    Raises:
        UnknownNetwork: there is no such network.
    """
    found = networks.find(session, network)
    recipes = recipes_of_layers(session, [layer.id for layer in found.layers])
    named = {key: [r for r in have if recipe_hash in (None, r.hash)] for key, have in recipes.items()}
    shown = {layer_id: have[0] for layer_id, have in named.items() if have}
    pictured = [(layer_id, recipe.hash) for layer_id, recipe in shown.items()]
    pictures = _first_pictures(session, pictured if last is None else pictured[-last:], limit)
    return tuple(
        LayerStrip(
            layer=LayerInfo.model_validate(layer.info),
            recipe=shown.get(layer.id),
            items=tuple(unit_item(found, layer, p.unit, p) for p in pictures.get(layer.id, ())),
        )
        for layer in found.layers
    )


def find_labels(session: Session, network: str | None, q: str, *, limit: int = 60) -> tuple[LabelHit, ...]:
    """Units of labelled layers (of every network, if none is named) whose label contains `q`, in either case.

    Raises:
        UnknownNetwork: there is no network of that name.
    """
    wanted = q.strip().casefold()
    if not wanted:
        return ()
    hits = _label_hits(session, network, wanted)[:limit]
    pictures = _shown_pictures(session, hits)
    return tuple(
        LabelHit(
            network=layer.network.name,
            layer=layer.name,
            item=unit_item(layer.network, layer, unit, pictures.get((layer.id, unit))),
        )
        for layer, unit in hits
    )


def _first_pictures(session: Session, pictured: list[tuple[int, str]], limit: int) -> dict[int, list[Shown]]:
    """The first pictures (seed 0) of each layer and its recipe, by layer; dead units only where there are too few."""
    found: dict[int, list[Shown]] = {layer_id: [] for layer_id, _ in pictured}
    for has_picture in (Picture.state == PictureState.OK, Picture.state != PictureState.OK):
        lacking = (key for key in pictured if len(found[key[0]]) < limit)
        for part in chunks(lacking, LAYERS_AT_ONCE):
            for picture in _first_of_each(session, part, has_picture, limit):
                found[picture.layer_id].append(picture)
    return {layer_id: pictures[:limit] for layer_id, pictures in found.items()}


def _first_of_each(
    session: Session, keys: Iterable[tuple[int, str]], which: ColumnElement[bool], limit: int
) -> Iterable[Shown]:
    """Each layer's first pictures that hold to `which`, units ascending: read in the order of an index, and no more."""
    parts = [
        shown_pictures()
        .where(Picture.layer_id == layer_id, Picture.recipe_hash == recipe_hash, Picture.seed == 0, which)
        .order_by(Picture.unit)
        .limit(limit)
        .subquery()
        for layer_id, recipe_hash in keys
    ]
    return map(Shown._make, session.execute(union_all(*map(select, parts))))


def _label_hits(session: Session, network: str | None, wanted: str) -> list[tuple[Layer, int]]:
    """(layer, unit) whose label contains `wanted` (case-folded): labels that begin with it first."""
    statement = select(Layer).join(Layer.network).options(contains_eager(Layer.network))
    statement = statement.where(Layer.labelled).order_by(Network.name, Layer.order)
    if network is None:
        statement = statement.where(Network.state == NetworkState.DESCRIBED)
    else:
        statement = statement.where(Network.id == networks.find(session, network).id)
    hits = [
        (not label.casefold().startswith(wanted), layer, unit)
        for layer in session.scalars(statement)
        for unit, label in enumerate((layer.network.labels or [])[: layer.units])
        if wanted in label.casefold()
    ]
    return [(layer, unit) for _, layer, unit in sorted(hits, key=lambda hit: hit[0])]


def _shown_pictures(session: Session, hits: list[tuple[Layer, int]]) -> dict[tuple[int, int], Shown]:
    """The picture that stands for each (layer id, unit): the first recipe's that the layer has, seed 0; one query."""
    recipes = recipes_of_layers(session, sorted({layer.id for layer, _ in hits}))
    first = {layer_id: have[0].hash for layer_id, have in recipes.items() if have}
    statement = (
        shown_pictures()
        .add_columns(Picture.recipe_hash)
        .where(
            # Not as tuples, for which SQLite would look at every picture: a few too many are cheaper.
            Picture.layer_id.in_(first),
            Picture.recipe_hash.in_(set(first.values())),
            Picture.seed == 0,
            Picture.unit.in_({unit for _, unit in hits}),
        )
    )
    found = ((Shown._make(values), recipe_hash) for *values, recipe_hash in session.execute(statement))
    return {(p.layer_id, p.unit): p for p, recipe_hash in found if recipe_hash == first[p.layer_id]}
