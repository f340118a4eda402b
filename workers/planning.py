"""From the wish for an atlas to shards: how much work there is in it, and in what order it is worth doing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from math import ceil

from core.errors import UnitOutOfRange, UnknownLayer, nearest
from core.specs import SHEET_TILES, AtlasSpec, LayerInfo, NetworkInfo, Recipe, ShardKind, ShardSpec

MOST_IMAGES = 512
"""In one shard, unless one sheet's units times the seeds are more: bounds memory and what a lost lease costs."""

MOST_RANGE = 50_000
"""Images of a probe set in one shard, however fast the device: bounds what a lost lease costs."""

MOST_UNIT_SECONDS = 1e9
"""An estimate beyond this (30 years for one unit) is a slip of the clock, and sums of them must stay finite."""


@dataclass(frozen=True)
class _Cut:
    """The shards of one layer and recipe: equal parts of its units, each made when it is asked for."""

    layer: LayerInfo
    recipe: Recipe
    units: Sequence[int]
    seeds: int
    image_step_seconds: float
    shard_seconds: float

    @cached_property
    def recipe_hash(self) -> str:
        return self.recipe.content_hash()

    @cached_property
    def unit_seconds(self) -> float:
        return min(self.image_step_seconds * self.recipe.steps * self.seeds, MOST_UNIT_SECONDS)

    @cached_property
    def size(self) -> int:
        """Units in a part; the last one may have fewer."""
        return part_size(len(self.units), units_per_shard(self.unit_seconds, self.seeds, self.shard_seconds))

    def __len__(self) -> int:
        return ceil(len(self.units) / self.size)

    def __getitem__(self, number: int) -> ShardSpec:
        units = self.units[number * self.size : (number + 1) * self.size]
        return ShardSpec(
            layer=self.layer.name,
            recipe_hash=self.recipe_hash,
            units=tuple(units),
            seeds=self.seeds,
            images=len(units) * self.seeds,
            cost_seconds=self.unit_seconds * len(units),
        )


def cut(
    info: NetworkInfo, spec: AtlasSpec, seconds_per_image_step: Callable[[LayerInfo], float], shard_seconds: float
) -> Iterator[ShardSpec]:
    """The atlas's shards in the order in which to do them; every (layer, unit, recipe, seed) is in exactly one.

    The first recipe, whose pictures stand for a layer, comes first; and of every layer a piece before any layer's
    second: a whole network fills in early. A hundred thousand shards take no more memory than ten.

    Args:
        info: the network's description.
        spec: what is wanted of it.
        seconds_per_image_step: cost of one step of one image, on the device at hand; asked at once, for every layer.
        shard_seconds: work to put into one shard.

    Raises:
        UnknownLayer, UnitOutOfRange: the wish names what the network has not.
    """
    layers = [(layer, chosen_units(layer, spec)) for layer in chosen_layers(info, spec)]
    costs = {layer.name: seconds_per_image_step(layer) for layer, _ in layers if spec.recipes}
    cuts = [
        [_Cut(layer, recipe, units, spec.seeds, costs[layer.name], shard_seconds) for recipe in spec.recipes]
        for layer, units in layers
    ]
    first = [each for of_layer in cuts for each in of_layer[:1]]
    others = [each for of_layer in cuts for each in of_layer[1:]]
    return chain(_in_turn(first), _in_turn(others))


def _in_turn(cuts: Sequence[_Cut]) -> Iterator[ShardSpec]:
    """The first shard of each, then the second of each, and so on."""
    for number in range(max(map(len, cuts), default=0)):
        for each in cuts:
            if number < len(each):
                yield each[number]


def cut_set(images: int, batch: int, image_seconds: float, shard_seconds: float) -> Iterator[ShardSpec]:
    """The ranges of a probe set's images, in order; all but the last begin and end at multiples of `batch`.

    Args:
        images: how many the set has.
        batch: images that go through the network together.
        image_seconds: cost of one image.
        shard_seconds: work to put into one shard.
    """
    wanted = shard_seconds / image_seconds if image_seconds > 0 else MOST_RANGE
    size = max(1, int(min(wanted, MOST_RANGE)) // batch) * batch
    for first in range(0, images, size):
        last = min(first + size, images) - 1
        count = last - first + 1
        yield ShardSpec(
            kind=ShardKind.PROBE,
            first=first,
            last=last,
            images=count,
            cost_seconds=min(image_seconds, MOST_UNIT_SECONDS) * count,
        )


def cut_views(
    layers: Sequence[tuple[LayerInfo, Sequence[int]]],
    tops: int,
    seconds: Callable[[LayerInfo], float],
    shard_seconds: float,
) -> list[ShardSpec]:
    """The shards of crops and backward views, of every layer a piece before any layer's second.

    Args:
        layers: with the units that are wanted of each.
        tops: images of each unit, on all sides.
        seconds: cost of one image of a layer, with all its views; asked once for every layer.
        shard_seconds: work to put into one shard.
    """
    cuts = [
        _views(layer, units, tops, min(seconds(layer), MOST_UNIT_SECONDS), shard_seconds) for layer, units in layers
    ]
    return list(chain.from_iterable(filter(None, each) for each in zip_longest(*cuts)))


def _views(layer: LayerInfo, units: Sequence[int], tops: int, seconds: float, shard_seconds: float) -> list[ShardSpec]:
    unit_seconds = seconds * tops
    size = part_size(len(units), units_per_shard(unit_seconds, tops, shard_seconds))
    pieces = [units[start : start + size] for start in range(0, len(units), size)]
    return [
        ShardSpec(
            kind=ShardKind.BACKWARD,
            layer=layer.name,
            units=tuple(piece),
            images=len(piece) * tops,
            cost_seconds=unit_seconds * len(piece),
        )
        for piece in pieces
    ]


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


def units_per_shard(unit_seconds: float, seeds: int, shard_seconds: float) -> int:
    """How many units make `shard_seconds` of work: whole sprite sheets on a fast device, parts of one on a slow one."""
    most = max(SHEET_TILES, MOST_IMAGES // seeds // SHEET_TILES * SHEET_TILES)
    wanted = int(min(shard_seconds / unit_seconds, most)) if unit_seconds > 0 else most
    return max(1, wanted // SHEET_TILES * SHEET_TILES if wanted > SHEET_TILES else wanted)


def part_size(units: int, most: int) -> int:
    """The size of as few parts of at most `most` units as possible; parts of up to one sheet are of like size."""
    return most if most >= SHEET_TILES else ceil(units / ceil(units / most))
