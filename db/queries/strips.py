"""Reads across a whole network: a strip of thumbnails for every layer, and units by their label."""

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session, aliased

from core.specs import LayerInfo
from db import networks
from db.models import Layer, Network, NetworkState, Picture, PictureState
from db.queries.paging import View
from db.queries.recipes import RecipeItem, recipes_of_layers
from db.queries.unit_items import UnitItem, unit_item


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
    session: Session, network: str, *, recipe_hash: str | None = None, limit: int = 16
) -> tuple[LayerStrip, ...]:
    """Every layer in forward order, each with up to `limit` thumbnails; units with a picture come before dead ones.

    They are of the recipe named (a layer without it has no items), else of the first that each layer has.

    Raises:
        UnknownNetwork: there is no such network.
    """
    found = networks.find(session, network)
    recipes = recipes_of_layers(session, [layer.id for layer in found.layers])
    named = {key: [r for r in have if recipe_hash in (None, r.hash)] for key, have in recipes.items()}
    shown = {layer_id: have[0] for layer_id, have in named.items() if have}
    pictures = _first_pictures(session, shown, limit)
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


def _first_pictures(session: Session, shown: dict[int, RecipeItem], limit: int) -> dict[int, list[Picture]]:
    """The first pictures of each layer's recipe (seed 0), by layer; one query."""
    place = func.row_number().over(
        partition_by=Picture.layer_id, order_by=(Picture.state != PictureState.OK, Picture.unit)
    )
    keys = [(layer_id, recipe.hash) for layer_id, recipe in shown.items()]
    ranked = select(Picture, place.label("place")).where(
        tuple_(Picture.layer_id, Picture.recipe_hash).in_(keys), Picture.seed == 0
    )
    inner = ranked.subquery()
    picture = aliased(Picture, inner)
    found: dict[int, list[Picture]] = {}
    for row in session.scalars(select(picture).where(inner.c.place <= limit).order_by(inner.c.layer_id, inner.c.place)):
        found.setdefault(row.layer_id, []).append(row)
    return found


def _label_hits(session: Session, network: str | None, wanted: str) -> list[tuple[Layer, int]]:
    """(layer, unit) whose label contains `wanted` (case-folded): labels that begin with it first."""
    statement = select(Layer).join(Layer.network).where(Layer.labelled).order_by(Network.name, Layer.order)
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


def _shown_pictures(session: Session, hits: list[tuple[Layer, int]]) -> dict[tuple[int, int], Picture]:
    """The picture that stands for each (layer id, unit): the first recipe's that the layer has, seed 0; one query."""
    recipes = recipes_of_layers(session, sorted({layer.id for layer, _ in hits}))
    keys = [(layer.id, recipes[layer.id][0].hash, unit) for layer, unit in hits if recipes[layer.id]]
    statement = select(Picture).where(
        tuple_(Picture.layer_id, Picture.recipe_hash, Picture.unit).in_(keys), Picture.seed == 0
    )
    return {(picture.layer_id, picture.unit): picture for picture in session.scalars(statement)}
