"""The control tasks: find out what a network is, and cut an atlas into shards."""

import logging
import time

from core.errors import Cancelled
from core.specs import AtlasSpec, LayerInfo, NetworkInfo, NetworkSource
from db import atlases, networks
from db.models import Network, NetworkState
from db.planning import release_planning
from db.quotas import claim_images
from deepvis.engine import Engine
from deepvis.layers import describe
from workers import planning
from workers.reasons import explain, report
from workers.runtime import Runtime

log = logging.getLogger(__name__)

MOST_MEASUREMENTS = 4
MEASURING_SECONDS = 0.1


def describe_network(runtime: Runtime, name: str) -> None:
    """Find the network's layers and store them; the reason if that fails."""
    with runtime.ledger.sessions.begin() as session:
        if not networks.begin_description(session, name, runtime.settings.max_attempts):
            return
    try:
        _info(runtime, name)
    except Exception as error:
        report(f"network {name} cannot be described", error)
        runtime.networks.clear()
        with runtime.ledger.sessions.begin() as session:
            networks.fail_description(session, name, explain(error))


def plan_atlas(runtime: Runtime, atlas_id: str) -> None:
    """Cut the atlas into shards and store them, if no other worker does; the reason if that fails."""
    with runtime.ledger.sessions.begin() as session:
        spec = atlases.begin_planning(session, atlas_id, runtime.settings.lease_seconds)
    if spec is None:
        return
    try:
        with runtime.heartbeat.planning(atlas_id):
            _plan(runtime, atlas_id, spec)
    except Cancelled as error:
        log.info("atlas %s: its plan is left to others: %s", atlas_id, error)
        with runtime.ledger.sessions.begin() as session:
            release_planning(session, atlas_id)
    except Exception as error:
        report(f"atlas {atlas_id} cannot be planned", error)
        runtime.networks.clear()
        with runtime.ledger.sessions.begin() as session:
            atlases.fail_planning(session, atlas_id, explain(error))


def _plan(runtime: Runtime, atlas_id: str, spec: AtlasSpec) -> None:
    start = time.monotonic()
    info = _info(runtime, spec.network)
    with runtime.ledger.sessions.begin() as session:
        claim_images(session, atlas_id, runtime.settings.max_images_per_day)
    engine = runtime.networks.engine(info.source, info.weights_hash)
    shards = planning.cut(info, spec, lambda layer: _cost(runtime, engine, layer), runtime.settings.shard_seconds)
    with runtime.ledger.sessions.begin() as session:
        state = atlases.save_plan(session, atlas_id, shards)
    log.info("atlas %s planned: %d shards in %.1f s (%s)", atlas_id, len(shards), time.monotonic() - start, state)
    runtime.heartbeat.wake()


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
    info = describe(runtime.networks.engine(source).network)
    with runtime.ledger.sessions.begin() as session:
        networks.save_description(session, name, info)
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
