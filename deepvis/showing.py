"""One frame as a viewer sees it: what was asked for of the network's answers, encoded, and nothing else."""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from torch import Tensor

from core.errors import InvalidRequest, UndefinedView, UnitOutOfRange, UnknownLayer, nearest
from core.live import LiveView
from core.specs import BackwardKind, LayerInfo
from deepvis.activations import (
    Answers,
    as_input,
    grid_columns,
    normalised,
    paint,
    run_normalised,
    shade,
    shrink,
    tile_grid,
)
from deepvis.engine import Engine
from deepvis.pictures import Pixels, to_image
from deepvis.showing_back import Origin, origin_at_peak, picture_of
from deepvis.views import Filter

BEST_UNITS = 3
FILTERS: dict[str, Filter] = {"raw": "raw", "gray": "gray", "norm": "norm", "blurred": "blurred norm"}


@dataclass
class Shown:
    """What goes to the viewer: a header for JSON, and pictures by name."""

    header: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)


def show(engine: Engine, layers: Sequence[LayerInfo], view: LiveView, image: Image.Image) -> Shown:
    """Put `image` through the network and encode what `view` asks for.

    Raises:
        UnknownLayer, UnitOutOfRange: the network has no such layer or unit.
        BadPicture: the network takes no pictures like this one.
    """
    start = time.perf_counter()
    shown = Shown({"layer": view.layer})
    layer = find_layer(layers, view.layer, view.unit) if view.layer else None
    origin = _origin(layers, view) if layer and view.backward else None
    x = normalised(engine, [as_input(image, engine.network.input_shape)])
    answers = run_normalised(engine.module, x, [one for one in (layer, origin) if one], view.side)
    computed = time.perf_counter()
    if view.top:
        shown.header["top"] = top_classes(answers.probabilities[0], engine.network.labels, view.top)
    signals = None
    if layer and origin:
        unit = view.from_unit if view.from_layer else view.unit
        start_at = origin_at_peak(engine, x, origin, unit, answers.maps[origin.name][0])
        signals = _show_back(shown, start_at, view, layer)
    traced = time.perf_counter()
    if layer:
        _show_layer(shown, answers, layer, view, signals)
    ended = time.perf_counter()
    stages = {"compute": computed - start, "backward": traced - computed, "encode": ended - traced}
    shown.header["seconds"] = {name: round(spent, 4) for name, spent in stages.items()}
    return shown


def _origin(layers: Sequence[LayerInfo], view: LiveView) -> LayerInfo:
    """The layer that is traced back: the one shown, or the one that the viewer froze."""
    return find_layer(layers, view.from_layer, view.from_unit) if view.from_layer else find_layer(layers, view.layer, 0)


def find_layer(layers: Sequence[LayerInfo], name: str, unit: int) -> LayerInfo:
    """The layer of that name, which has such a unit.

    Raises:
        UnknownLayer, UnitOutOfRange: there is none.
    """
    found = {layer.name: layer for layer in layers}
    if name not in found:
        raise UnknownLayer(f"The network has no layer {name!r}.", nearest(name, found))
    if unit >= found[name].units:
        raise UnitOutOfRange(f"{name} has no unit {unit}.", f"Its units are 0 to {found[name].units - 1}.")
    return found[name]


def top_classes(probabilities: Tensor, labels: Sequence[str], count: int) -> list[dict[str, Any]]:
    """The likeliest classes: {"unit", "label", "probability"} each, the first the likeliest.

    Args:
        probabilities: (classes,)
        labels: of the classes, or none where they have no names.
    """
    values, units = probabilities.topk(min(count, len(probabilities)))
    named = len(labels) == len(probabilities)
    return [
        {"unit": unit, "label": labels[unit] if named else f"class {unit}", "probability": round(value, 5)}
        for unit, value in zip(units.tolist(), values.tolist(), strict=True)
    ]


def _show_back(shown: Shown, origin: Origin, view: LiveView, layer: LayerInfo) -> Tensor | None:
    """Add the backward view, or why there is none; the signals (units, h, w) at the layer, if the grid shows them."""
    told: dict[str, Any] = {"layer": origin.layer.name, "unit": origin.unit}
    shown.header["backward"] = told
    kind, how, signals = view.backward or BackwardKind.GRADIENT, FILTERS[view.shown_as], None
    try:
        if view.in_grid and kind == BackwardKind.GRADIENT:  # one pass gives both
            at_picture, signals = origin.gradients(layer)
            picture = picture_of(at_picture, how)
        else:
            picture = origin.view(kind, how)
        shown.pictures["backward"] = encode_jpeg(picture, 90)
        return origin.signals_at(layer) if view.in_grid and signals is None else signals
    except (UndefinedView, InvalidRequest) as error:
        told["trouble"] = f"{error.detail} {error.remedy}".strip()
        return None


def _show_layer(shown: Shown, answers: Answers, layer: LayerInfo, view: LiveView, signals: Tensor | None) -> None:
    maps = answers.maps[layer.name][0]  # (units, h, w)
    if view.grid:
        small = shrink(maps if signals is None else signals, view.grid)
        shades = shade(small, gamma=view.gamma, per_channel=view.per_channel)
        shown.pictures["grid"] = encode_jpeg(tile_grid(shades))
        columns = grid_columns(len(maps))
        shown.header["grid"] = {"columns": columns, "rows": -(-len(maps) // columns), "units": len(maps)}
    shown.pictures["unit"] = encode_png(paint(shade(maps[view.unit][None], gamma=view.gamma)[0]))
    own = maps[view.unit]
    peaks = maps.flatten(1).amax(1)
    best = peaks.topk(min(BEST_UNITS, len(peaks))).indices.tolist()
    highest = round(float(own.max()), 4)
    shown.header["unit"] = {"layer": layer.name, "unit": view.unit, "highest": highest, "best": best}


def encode_jpeg(pixels: Pixels, quality: int = 85) -> bytes:
    """JPEG of (H, W, 1) or (H, W, 3) pixels: what is made anew for every frame is encoded quickly."""
    return _encode(to_image(pixels), "JPEG", quality=quality)


def encode_png(pixels: Pixels) -> bytes:
    """PNG of (H, W, 1) or (H, W, 3) pixels, of small pictures whose pixels are enlarged."""
    return _encode(to_image(pixels), "PNG", compress_level=1)


def _encode(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
