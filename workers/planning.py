"""From the wish for an atlas to shards: how much work there is in it, and in what order it is worth doing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from core.errors import UnitOutOfRange, UnknownLayer, nearest
from core.specs import SHEET_TILES, AtlasSpec, LayerInfo, NetworkInfo, Recipe, ShardSpec

MOST_IMAGES = 512
"""In one shard, unless one sheet's units times the seeds are more: bounds memory and what a lost lease costs."""

MOST_UNIT_SECONDS = 1e9
"""An estimate beyond this (30 years for one unit) is a slip of the clock, and sums of them must stay finite."""


@dataclass(frozen=True)
class _Piece:
    """A shard and its place in the order of work."""

    thumbnail: bool
    number: int  # of this layer and recipe's shards
    layer_order: int
    recipe_number: int
    shard: ShardSpec

    @property
    def place(self) -> tuple[bool, int, int, int]:
        """Thumbnails first, and of every layer a piece before any layer's second: a whole network fills in early."""
        return not self.thumbnail, self.number, self.layer_order, self.recipe_number


def cut(
    info: NetworkInfo, spec: AtlasSpec, seconds_per_image_step: Callable[[LayerInfo], float], shard_seconds: float
) -> list[ShardSpec]:
    """The atlas's shards in the order in which to do them; every (layer, unit, recipe, seed) is in exactly one.

    Args:
        info: the network's description.
        spec: what is wanted of it.
        seconds_per_image_step: cost of one step of one image, on the device at hand.
        shard_seconds: work to put into one shard.

    Raises:
        UnknownLayer, UnitOutOfRange: the wish names what the network has not.
    """
    pieces = [
        piece
        for layer in chosen_layers(info, spec)
        for piece in _layer_pieces(layer, spec, seconds_per_image_step(layer), shard_seconds)
    ]
    return [piece.shard for piece in sorted(pieces, key=lambda piece: piece.place)]


def chosen_layers(info: NetworkInfo, spec: AtlasSpec) -> list[LayerInfo]:
    """The layers that the atlas covers, in forward order.

    Raises:
        UnknownLayer: the network has no layer of that name.
    """
    known = {layer.name: layer for layer in info.layers}
    for name in spec.layers:
        if name not in known:
            raise UnknownLayer(f"{info.source.name!r} has no layer {name!r}.", nearest(name, known))
    layers = [known[name] for name in dict.fromkeys(spec.layers)] or [layer for layer in info.layers if layer.default]
    return sorted(layers, key=lambda layer: layer.order)


def chosen_units(layer: LayerInfo, spec: AtlasSpec) -> Sequence[int]:
    """The layer's units that the atlas covers, ascending.

    Raises:
        UnitOutOfRange: the layer has no such unit.
    """
    units = sorted(set(spec.units)) or range(layer.units)
    if units[-1] >= layer.units:
        detail = f"Layer {layer.name!r} has no unit {units[-1]}."
        raise UnitOutOfRange(detail, f"It has {layer.units}: 0 to {layer.units - 1}.")
    return units


def _layer_pieces(
    layer: LayerInfo, spec: AtlasSpec, image_step_seconds: float, shard_seconds: float
) -> Iterator[_Piece]:
    units = chosen_units(layer, spec)
    for recipe_number, recipe in enumerate(spec.recipes):
        unit_seconds = min(image_step_seconds * recipe.steps * spec.seeds, MOST_UNIT_SECONDS)
        for number, part in enumerate(split(units, units_per_shard(unit_seconds, spec.seeds, shard_seconds))):
            shard = _shard(layer, recipe, part, spec.seeds, unit_seconds)
            yield _Piece(recipe_number == 0, number, layer.order, recipe_number, shard)


def _shard(layer: LayerInfo, recipe: Recipe, units: Sequence[int], seeds: int, unit_seconds: float) -> ShardSpec:
    return ShardSpec(
        layer=layer.name,
        recipe_hash=recipe.content_hash(),
        units=tuple(units),
        seeds=seeds,
        cost_seconds=unit_seconds * len(units),
    )


def units_per_shard(unit_seconds: float, seeds: int, shard_seconds: float) -> int:
    """How many units make `shard_seconds` of work: whole sprite sheets on a fast device, parts of one on a slow one."""
    most = max(SHEET_TILES, MOST_IMAGES // seeds // SHEET_TILES * SHEET_TILES)
    wanted = int(min(shard_seconds / unit_seconds, most)) if unit_seconds > 0 else most
    return max(1, wanted // SHEET_TILES * SHEET_TILES if wanted > SHEET_TILES else wanted)


def split(units: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    """`units` in order, in as few parts of at most `most` as possible; parts of up to one sheet are of like size."""
    size = most if most >= SHEET_TILES else ceil(len(units) / ceil(len(units) / most))
    return (units[start : start + size] for start in range(0, len(units), size))
