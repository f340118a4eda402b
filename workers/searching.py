"""Searches by picture: which units, over all layers, somebody's picture excites most, compared with a probe set.

Imports torch: in the child only.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nlargest

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.specs import LayerInfo, NetworkSource
from core.uploads import limits_of
from db import searches
from db.models import Layer
from db.outages import is_outage
from db.probe_models import PassLayer, PictureSearch, ProbePass
from db.searches import MOST_UNITS, Excited
from deepvis.inputs import read_input
from deepvis.tallies import Floats, load
from deepvis.unit_statistics import percentiles, unit_statistics
from workers.reasons import explain, first_line, is_setback, report
from workers.runtime import Runtime

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A search as a worker needs it."""

    key: str  # of the picture in the store
    network: NetworkSource
    weights_hash: str
    layers: tuple[tuple[int, LayerInfo, str], ...]  # id, description, and the key of its answers in the store


def answer_search(runtime: Runtime, search_id: str) -> None:
    """Make the search and store its answer; the reason if that fails."""
    ledger, most = runtime.ledger, runtime.settings.max_attempts
    work = ledger.patiently(f"search {search_id}", lambda s: _begin(s, search_id, most))
    if work is None:
        return
    try:
        found = nlargest(MOST_UNITS, _excited(runtime, work), key=_rank)
        ledger.patiently(f"search {search_id}", lambda s: searches.finish(s, search_id, found))
    except Exception as error:
        _give_up(runtime, search_id, error)


def _give_up(runtime: Runtime, search_id: str, error: Exception) -> None:
    if is_outage(error) or is_setback(error):
        log.warning("search %s: left for later: %s", search_id, first_line(error))
        runtime.ledger.patiently("leaving a search", lambda s: searches.leave(s, search_id))
        return
    report(f"search {search_id} cannot be answered", error)
    reason = explain(error)
    runtime.ledger.patiently("noting that", lambda s: searches.fail(s, search_id, reason))


def _begin(session: Session, search_id: str, most: int) -> _Work | None:
    search = searches.begin(session, search_id, most)
    return None if search is None else _work(session, search)


def _work(session: Session, search: PictureSearch) -> _Work:
    network = session.get_one(ProbePass, search.pass_id).network
    answers = select(PassLayer).join(PassLayer.layer).where(PassLayer.pass_id == search.pass_id).order_by(Layer.order)
    return _Work(
        key=search.key,
        network=NetworkSource.model_validate(network.source),
        weights_hash=network.weights_hash or "",
        layers=tuple(
            (row.layer_id, LayerInfo.model_validate(row.layer.info), row.blob) for row in session.scalars(answers)
        ),
    )


def _excited(runtime: Runtime, work: _Work) -> Iterator[Excited]:
    """Every unit that answers above zero and its own mean, in no order; one layer's set in memory at a time."""
    engine = runtime.engines.engine(work.network, work.weights_hash)
    pixels = read_input(runtime.store.get(work.key), engine.input_shape, limits_of(runtime.settings))
    answers = engine.answers([layer for _, layer, _ in work.layers], pixels[None])
    for layer_id, layer, blob in work.layers:
        yield from _of_layer(runtime, layer_id, blob, answers[layer.name][0])


def _of_layer(runtime: Runtime, layer_id: int, blob: str, answers: Floats) -> Iterator[Excited]:
    """The layer's units, `answers` (U,) being those to the picture."""
    tally = load(runtime.store.get(blob))
    known = unit_statistics(tally)
    shares = percentiles(tally, answers)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = (answers - known.mean) / known.deviation
    shown = np.isfinite(answers) & np.isfinite(shares) & np.isfinite(above) & ~known.dead & (answers > 0) & (above > 0)
    for unit in np.flatnonzero(shown).tolist():
        yield layer_id, unit, float(answers[unit]), 100 * float(shares[unit]), float(above[unit])


def _rank(found: Excited) -> tuple[float, float]:
    """The highest percentile first, and of those beyond everything in the set the one that is furthest beyond."""
    _, _, _, percentile, deviations = found
    return percentile, deviations
