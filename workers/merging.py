"""Shards that put the answers to all ranges of a probe set together, layer by layer, in memory for one layer at a time."""

import time
from collections.abc import Sequence
from functools import partial

from deepvis.statistics import statistics
from deepvis.tallies import Floats, Tally, dump, load, merge

from core.specs import LayerInfo
from db import passes
from db.passes import Merged
from db.work import MergeLease
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
        tally = _whole(runtime, lease.parts[layer_id])
        profiles[layer_id] = tally.profile
        _store(runtime, lease, layer_id, layer, tally)
    views = planning.cut_views(
        _wanted(runtime, lease), _tops(lease), partial(_seconds, engine, lease), runtime.settings.shard_seconds
    )
    similar = _similar(profiles)
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
    units = list(_rows(tally, statistics(tally), lease))
    runtime.ledger.patiently(
        f"storing answers of {layer.name}", lambda s: passes.store_layer(s, lease, layer_id, blob, units)
    )
