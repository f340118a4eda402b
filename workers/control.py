"""The control tasks: find out what a network is, and cut an atlas into shards."""

import logging
import time
from collections.abc import Iterator
from itertools import chain

from core.errors import Cancelled, LostLease
from core.specs import LayerInfo, NetworkInfo, NetworkSource, ShardSpec
from db import networks, passes
from db import planning as commands
from db.bulk import CHUNK_ROWS, chunks
from db.ids import new_token
from db.models import Network, NetworkState
from db.outages import is_outage
from db.planning import PlanLease
from db.quotas import claim_images
from db.usable_sets import find_set
from workers import planning
from workers.engines import Engine
from workers.heartbeat import HeldPlan
from workers.reasons import explain, first_line, is_setback, report
from workers.runtime import Runtime

log = logging.getLogger(__name__)

MOST_MEASUREMENTS = 4
MEASURING_SECONDS = 0.1


def describe_network(runtime: Runtime, name: str) -> None:
    """Find the network's layers and store them; the reason if that fails."""
    ledger, most = runtime.ledger, runtime.settings.max_attempts
    if not ledger.patiently(f"describing {name}", lambda s: networks.begin_description(s, name, most)):
        return
    try:
        _info(runtime, name)
    except Exception as error:
        if is_outage(error) or is_setback(error):
            log.warning("network %s: its description is left for later: %s", name, first_line(error))
            ledger.patiently(f"leaving {name}", lambda s: networks.leave_description(s, name))
            return
        report(f"network {name} cannot be described", error)
        runtime.engines.clear()
        reason = explain(error)
        ledger.patiently(f"noting {name}", lambda s: networks.fail_description(s, name, reason))


def plan_atlas(runtime: Runtime, atlas_id: str) -> None:
    """Cut the atlas into shards and store them, if no other worker does; the reason if that fails."""
    ledger, seconds = runtime.ledger, runtime.settings.lease_seconds
    token = new_token()
    lease = ledger.patiently(
        f"planning {atlas_id}", lambda s: commands.begin_planning(s, atlas_id, seconds, token=token)
    )
    if lease is None:
        return
    log.info("atlas %s: planning begins, attempt %d", atlas_id, lease.attempt)
    try:
        with runtime.heartbeat.planning(lease) as held:
            _plan(runtime, held)
    except LostLease as lost:
        log.info("atlas %s: %s", atlas_id, lost)
    except Exception as error:
        _give_up(runtime, lease, error)


def _give_up(runtime: Runtime, lease: PlanLease, error: Exception) -> None:
    """Leave the plan to whoever comes next if that may help, else say why there is none."""
    ledger, atlas_id = runtime.ledger, lease.atlas_id
    if isinstance(error, Cancelled) or is_outage(error) or is_setback(error):
        log.info("atlas %s: its plan is left to others: %s", atlas_id, first_line(error))
        ledger.patiently(f"leaving {atlas_id}", lambda s: commands.release_planning(s, lease))
        return
    report(f"atlas {atlas_id} cannot be planned", error)
    runtime.engines.clear()
    reason = explain(error)
    ledger.patiently(f"noting {atlas_id}", lambda s: commands.fail_planning(s, lease, reason))


def _plan(runtime: Runtime, held: HeldPlan) -> None:
    start, lease, position = time.monotonic(), held.lease, 0
    info = _info(runtime, lease.spec.network)
    a_day, at_once = runtime.settings.max_images_per_day, runtime.settings.max_images_per_atlas
    runtime.ledger.patiently("counting", lambda s: claim_images(s, lease.atlas_id, a_day, at_once))
    engine = runtime.engines.engine(info.source, info.weights_hash)
    seconds = runtime.settings.shard_seconds
    shards = planning.cut(info, lease.spec, lambda layer: _cost(runtime, engine, layer), seconds)
    for chunk in chunks(chain(_ranges(runtime, held, engine, info), shards), CHUNK_ROWS):
        _check_go_on(runtime, held)
        _store(runtime, lease, position, chunk)
        position += len(chunk)
    state = runtime.ledger.patiently("planning", lambda s: commands.finish_planning(s, lease))
    log.info("atlas %s planned: %d shards in %.1f s (%s)", lease.atlas_id, position, time.monotonic() - start, state)
    runtime.housekeeper.wake()


def _ranges(runtime: Runtime, held: HeldPlan, engine: Engine, info: NetworkInfo) -> Iterator[ShardSpec]:
    """The shards of the pass over a probe set, if the atlas asks for one that has not been made yet."""
    lease = held.lease
    if lease.spec.probe is None:
        return
    batch = engine.probe_batch_size
    if not runtime.ledger.patiently("beginning a pass", lambda s: passes.begin_pass(s, lease, batch)):
        return
    _check_go_on(runtime, held)
    with runtime.ledger.sessions() as session:
        images = find_set(session, lease.spec.probe.set).images
    image_seconds = engine.seconds_per_probe_image(planning.chosen_layers(info, lease.spec))
    yield from planning.cut_set(images, batch, image_seconds, runtime.settings.shard_seconds)


def _store(runtime: Runtime, lease: PlanLease, position: int, chunk: list[ShardSpec]) -> None:
    runtime.ledger.patiently(
        f"planning {lease.atlas_id}", lambda session: commands.extend_plan(session, lease, position, chunk)
    )


def _check_go_on(runtime: Runtime, held: HeldPlan) -> None:
    """Stop planning when it is in vain.

    Raises:
        LostLease: somebody else plans the atlas, or it was given up.
        Cancelled: the worker is stopping.
    """
    if held.lost:
        raise LostLease("Its plan is somebody else's, or was given up.")
    if runtime.stop.deadline is not None:
        raise Cancelled("The worker is stopping.")


def _cost(runtime: Runtime, engine: Engine, layer: LayerInfo) -> float:
    """Seconds an image and step; the least of a few measurements where they are quick, as the first ones are cold.

    Raises:
        Cancelled: the worker is stopping.
    """
    if runtime.stop.deadline is not None:
        raise Cancelled("The worker is stopping.")
    start = time.monotonic()
    costs = [engine.seconds_per_image_step(layer)]
    while len(costs) < MOST_MEASUREMENTS and time.monotonic() - start < MEASURING_SECONDS:
        costs.append(engine.seconds_per_image_step(layer))
    return min(costs)


def _info(runtime: Runtime, name: str) -> NetworkInfo:
    """The network's description, from the database or made and stored now."""
    with runtime.ledger.sessions() as session:
        network = networks.find(session, name)
        source = NetworkSource.model_validate(network.source)
        if network.state == NetworkState.DESCRIBED:
            return _stored_info(network, source)
    start = time.monotonic()
    info = runtime.engines.describe(source)
    runtime.ledger.patiently(f"describing {name}", lambda session: networks.save_description(session, name, info))
    log.info("network %s described: %d layers in %.1f s", name, len(info.layers), time.monotonic() - start)
    return info


def _stored_info(network: Network, source: NetworkSource) -> NetworkInfo:
    return NetworkInfo(
        source=source,
        weights_hash=network.weights_hash or "",
        input_shape=tuple(network.input_shape or ()),
        mean=tuple(network.mean or ()),
        std=tuple(network.std or ()),
        labels=tuple(network.labels or ()),
        parameters=network.parameters or 0,
        layers=tuple(LayerInfo.model_validate(layer.info) for layer in network.layers),
    )
