"""Shards that put the answers to all ranges of a probe set together, layer by layer, one layer in memory at a time.

Imports torch: in the child only.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from core.specs import LayerInfo, Side
from db import passes
from db.passes import Merged, UnitRow
from db.work import MergeLease
from deepvis.bins import edges_of
from deepvis.similar import similar_units
from deepvis.statistics import Statistics, statistics
from deepvis.tallies import NO_IMAGE, Floats, Ranking, Tally, dump, load, merge
from workers import planning
from workers.engines import Engine
from workers.held import HeldLease
from workers.parcels import ReadyParcel
from workers.runtime import Runtime
from workers.stages import StageTimes

MOST_SIMILAR = 12
MOST_LABELS = 10


def put_together(
    runtime: Runtime, engine: Engine, held: HeldLease, lease: MergeLease, times: StageTimes
) -> ReadyParcel:
    """Write every unit's answers; what it is similar to, and which shards of views follow, go with the commit."""
    start = time.monotonic()
    runtime.ledger.patiently("forgetting an attempt", lambda s: passes.forget_layers(s, lease))
    profiles: dict[int, Floats] = {}
    for done, (layer_id, layer) in enumerate(lease.layers):
        held.progress(done / len(lease.layers))
        tally = _whole(runtime, lease.parts[layer_id])
        profiles[layer_id] = tally.profile
        _store(runtime, lease, layer_id, layer, tally)
    similar = _similar(profiles)
    views = _views(runtime, engine, lease)
    return ReadyParcel(held, times, Merged(similar=similar, views=views, seconds=time.monotonic() - start))


def _whole(runtime: Runtime, keys: Sequence[str]) -> Tally:
    """All parts of one layer as one, one part in memory at a time beside it."""
    whole: Tally | None = None
    for key in keys:
        part = load(runtime.store.get(key))
        whole = part if whole is None else merge(whole, part)
    if whole is None:
        raise ValueError("expected a part or more to put together, got none")
    return whole


def _store(runtime: Runtime, lease: MergeLease, layer_id: int, layer: LayerInfo, tally: Tally) -> None:
    blob = runtime.store.put(dump(_slim(tally)))
    units = list(_rows(tally, lease))
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
