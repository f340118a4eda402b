"""Shards that put the answers to all ranges of a probe set together, layer by layer, one layer in memory at a time.

Imports torch: in the child only.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from core.specs import BackwardKind, LayerInfo, ShardSpec, Side
from db import passes
from db.passes import Merged, UnitRow
from db.work import MergeLease
from deepvis.bins import EDGES
from deepvis.similar import NO_NEIGHBOUR, nearest_columns
from deepvis.tallies import NO_IMAGE, Floats, Ranking, Tally, dump, load, merge
from deepvis.unit_statistics import preferred_labels, unit_statistics
from workers import planning
from workers.engines import Engine
from workers.held import HeldLease
from workers.parcels import ReadyParcel
from workers.runtime import Runtime
from workers.stages import StageTimes

MOST_SIMILAR = 12


def put_together(
    runtime: Runtime, engine: Engine, held: HeldLease, lease: MergeLease, times: StageTimes
) -> ReadyParcel:
    """Write every unit's answers; what it is similar to, and which shards of views follow, go with the commit."""
    start = time.monotonic()
    runtime.ledger.patiently("forgetting an attempt", lambda s: passes.forget_layers(s, lease))
    profiles: dict[int, Floats] = {}
    for done, (layer_id, layer) in enumerate(lease.layers):
        held.progress(done / len(lease.layers))
        tally = _whole(runtime, held, lease.parts[layer_id])
        profiles[layer_id] = tally.profile
        _store(runtime, lease, layer_id, layer, tally)
    similar = _similar(profiles, lambda done: held.note_progress())
    views = _views(runtime, engine, held, lease)
    return ReadyParcel(held, times, Merged(similar=similar, views=views, seconds=time.monotonic() - start))


def _whole(runtime: Runtime, held: HeldLease, keys: Sequence[str]) -> Tally:
    """All parts of one layer as one, one part in memory at a time beside it."""
    whole: Tally | None = None
    for key in keys:
        part = load(runtime.store.get(key))
        whole = part if whole is None else merge(whole, part)
        held.progress(held.fraction)
    if whole is None:
        raise ValueError("expected a part or more to put together, got none")
    return whole


def _store(runtime: Runtime, lease: MergeLease, layer_id: int, layer: LayerInfo, tally: Tally) -> None:
    blob = runtime.store.put(dump(_slim(tally)))
    units = list(_rows(tally))
    runtime.ledger.patiently(
        f"storing answers of {layer.name}", lambda s: passes.store_layer(s, lease, layer_id, blob, units)
    )


def _slim(tally: Tally) -> Tally:
    """What a picture's answers are compared with; the rest is in rows."""
    none, units = slice(0, 0), tally.units
    return replace(
        tally,
        labels=tally.labels[none],
        label_counts=tally.label_counts[none],
        label_totals=tally.label_totals[none],
        label_rectified=tally.label_rectified[none],
        sample=tally.sample[none],
        profile=np.zeros((0, units), np.float32),
    )


def _rows(tally: Tally) -> Iterator[UnitRow]:
    """Every unit's; the numbers of one that answered to no image with a number are 0."""
    found = unit_statistics(tally)
    for unit, labels in enumerate(preferred_labels(tally)):
        yield UnitRow(
            unit=unit,
            mean=_number(found.mean[unit]) or 0.0,
            deviation=_number(found.deviation[unit]) or 0.0,
            lowest=_number(tally.lowest[unit]) or 0.0,
            highest=_number(tally.highest[unit]) or 0.0,
            active=_number(found.fraction_active[unit]) or 0.0,
            sparseness=_number(found.sparseness[unit]),
            selectivity=_number(found.selectivity[unit]),
            dead=bool(found.dead[unit]),
            histogram=_histogram(tally, unit),
            labels=[(each.label, each.mean, each.effect) for each in labels],
            tops={side: _ranked(ranking, unit) for side, ranking in _sides(tally)},
        )


def _number(value: float) -> float | None:
    """A number that a database can keep and sort by."""
    return float(value) if np.isfinite(value) else None


def _histogram(tally: Tally, unit: int) -> list[tuple[float, float, int]]:
    """The bins that are not empty: from, to, how many answers. The outermost reach as far as answers do."""
    lowest, highest = float(tally.lowest[unit]), float(tally.highest[unit])
    edges = [lowest, *EDGES.tolist(), highest]
    bins = np.flatnonzero(tally.histogram[unit])
    return [
        (max(edges[place], lowest), min(edges[place + 1], highest), int(tally.histogram[unit, place])) for place in bins
    ]


def _sides(tally: Tally) -> Iterator[tuple[Side, Ranking]]:
    yield Side.TOP, tally.top
    if tally.low is not None:
        yield Side.LOWEST, tally.low


def _ranked(ranking: Ranking, unit: int) -> list[tuple[int, float, int]]:
    """Image, activation and position, by rank."""
    rows = zip(ranking.images[unit], ranking.answers[unit], ranking.positions[unit], strict=True)
    return [(int(image), float(answer), int(position)) for image, answer, position in rows if image != NO_IMAGE]


def _similar(
    profiles: Mapping[int, Floats], on_progress: Callable[[float], None]
) -> dict[tuple[int, int], list[tuple[int, int, float]]]:
    """For each (layer id, unit) those whose answers are most like its own, with the correlation."""
    addresses = [(layer_id, unit) for layer_id, profile in profiles.items() for unit in range(profile.shape[1])]
    near = nearest_columns(np.concatenate(list(profiles.values()), 1), MOST_SIMILAR, on_progress)
    rows = zip(addresses, near.units.tolist(), near.correlations.tolist(), strict=True)
    return {
        address: [
            (*addresses[other], correlation)
            for other, correlation in zip(others, correlations, strict=True)
            if other != NO_NEIGHBOUR
        ]
        for address, others, correlations in rows
    }


def _views(runtime: Runtime, engine: Engine, held: HeldLease, lease: MergeLease) -> list[ShardSpec]:
    """The shards of crops and views, of the units that the atlas covers."""
    tops = min(lease.wish.top, lease.images) * len(lease.wish.sides)
    layers = [(layer, lease.units or range(layer.units)) for _, layer in lease.layers]
    return planning.cut_views(layers, tops, partial(_view_seconds, engine, held, lease), runtime.settings.shard_seconds)


def _view_seconds(engine: Engine, held: HeldLease, lease: MergeLease, layer: LayerInfo) -> float:
    """What one top image of the layer costs: a forward and a backward pass, and one back for each further view."""
    channels, *sides = engine.input_shape
    rows = max(1, engine.probe_batch_size // 4)
    pixels, spent = np.zeros((rows, *sides, channels), np.uint8), []
    for _ in range(2):  # the first one warms up
        start = time.perf_counter()
        engine.backward(layer, pixels, [(0, 0)] * rows, [BackwardKind.GRADIENT])
        spent.append(time.perf_counter() - start)
        held.note_progress()
    return min(spent) / rows * (1 + len(lease.wish.backward)) / 2
