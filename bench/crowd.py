"""A network of many layers and units for the benches of the service: described, and one layer with all its pictures."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from bench.sleepers import noise
from core.recipes import DEFAULT_RECIPES
from core.specs import SHEET_TILES, AtlasSpec, LayerInfo, NetworkInfo, NetworkSource, Window
from db import clock, networks
from db.bulk import insert_missing
from db.models import Layer, Picture
from deepvis.pictures import encode_png, sheet
from store import PictureStore

NAME = "crowd"
LAYERS = 50
UNITS = 4096
RECIPES = tuple(recipe.model_copy(update={"steps": 1}) for recipe in DEFAULT_RECIPES)


def describe(session: Session) -> None:
    """Make the network known, with the layers "layer0", "layer1" ..."""
    window = Window(top=0, left=0, height=32, width=32, position=(0, 0), full=True)
    layers = tuple(
        LayerInfo(
            name=f"layer{order}",
            kind="conv",
            order=order,
            units=UNITS,
            output_shape=(UNITS, 1, 1),
            unit_axis=0,
            read_at=f"layer{order}",
            window=window,
        )
        for order in range(LAYERS + 1)  # one more, whose pictures are there
    )
    source = NetworkSource(name=NAME, kind="bundled", builder="demo")
    info = NetworkInfo(
        source=source,
        weights_hash="0" * 64,
        input_shape=(3, 32, 32),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        parameters=1,
        layers=layers,
    )
    networks.register(session, source)
    networks.save_description(session, NAME, info)


def spec(images: int) -> AtlasSpec:
    """An atlas of about `images` unit-images, over all layers but the last."""
    units = images // (LAYERS * len(RECIPES))
    layers = tuple(f"layer{order}" for order in range(LAYERS))
    return AtlasSpec(network=NAME, layers=layers, units=tuple(range(units)), recipes=RECIPES)


def fill_last_layer(session: Session, store: PictureStore) -> str:
    """Give every unit of the last layer a picture; the layer's name."""
    name = f"layer{LAYERS}"
    layer_id = session.scalars(select(Layer.id).join(Layer.network).where(Layer.name == name)).one()
    insert_missing(session, Picture, _rows(store, layer_id, clock.now(session)))
    return name


def _rows(store: PictureStore, layer_id: int, moment: datetime) -> Iterator[dict[str, object]]:
    for start in range(0, UNITS, SHEET_TILES):
        pictures = [noise(LAYERS, unit, 0) for unit in range(start, start + SHEET_TILES)]
        key = store.put(sheet([picture.pixels for picture in pictures if picture.pixels is not None]))
        for place, picture in enumerate(pictures):
            assert picture.pixels is not None
            yield {
                "layer_id": layer_id, "recipe_hash": RECIPES[0].content_hash(), "unit": picture.unit, "seed": 0,
                "state": "ok", "blob": store.put(encode_png(picture.pixels)), "sheet": key, "sheet_index": place,
                "width": 32, "height": 32, "activation": picture.activation, "best_step": 1, "strongest_step": 1,
                "seconds": 1.0, "device": "sleep", "precision": "none", "library_version": "0",
                "created_at": moment,
            }  # fmt: skip
