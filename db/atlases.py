"""Commands on atlases: wished for, cancelled, tried again. How one is planned is in `db.planning`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import Conflict, InvalidRequest, NotDescribed, UnitOutOfRange, UnknownLayer, nearest
from core.specs import AtlasSpec
from db import clock, networks, tallies
from db.bulk import insert_missing
from db.completion import finish_if_done, lock_atlas, start
from db.ids import time_ordered
from db.models import Atlas, AtlasState, Layer, Network, NetworkState, Recipe, Shard, ShardState
from db.planning import forget_plan

MAX_KEY_CHARACTERS = 200
UNFINISHED = (AtlasState.QUEUED, AtlasState.PLANNING, AtlasState.RUNNING)
AFRESH = {
    "attempts": 0, "setbacks": 0, "retry_at": None, "error": None, "enqueued_at": None, "fraction": 0.0,
    "finished_at": None,
}  # fmt: skip
"""What is forgotten of a shard that is tried again."""


def create(
    session: Session,
    spec: AtlasSpec,
    *,
    idempotency_key: str | None = None,
    weight: float = 1.0,
    max_open: int,
) -> tuple[Atlas, bool]:
    """The atlas that `spec` wishes for, and whether it is new: the same key and wish give the same atlas.

    Raises:
        UnknownNetwork, UnknownLayer, UnitOutOfRange: the wish names what is not there.
        NotDescribed: it names layers or units of a network that no worker has looked at; the caller then asks for
            that with `networks.request_description`, in a transaction of its own, as this one is rolled back.
        InvalidRequest: the network cannot be used, with its error; or the key is too long.
        Conflict: the key was used with another wish, or `max_open` atlases are unfinished.
    """
    _check_key(idempotency_key)
    spec = _normalised(spec)
    if (earlier := _by_key(session, idempotency_key)) is not None:
        return _same(earlier, spec, weight), False
    network = networks.find(session, spec.network)
    _check_usable(network, spec)
    check_spec(network, spec)
    _check_open(session, max_open)
    insert_missing(session, Recipe, _recipe_rows(spec))
    moment = clock.now(session)
    atlas = _new_atlas(network, spec, idempotency_key, weight, moment)
    try:
        with session.begin_nested():
            session.add(atlas)
    except IntegrityError:
        # The same key at the same moment: whoever was first made it.
        earlier = _by_key(session, idempotency_key)
        if earlier is None:
            raise
        return _same(earlier, spec, weight), False
    return atlas, True


def check_spec(network: Network, spec: AtlasSpec) -> None:
    """Hold the layers and units of a wish against a described network; a network without layers passes.

    Raises:
        UnknownLayer: a layer is not there; the remedy says the nearest names.
        UnitOutOfRange: a unit is not in every chosen layer.
    """
    layers = {layer.name: layer for layer in network.layers}
    if not layers:
        return
    for name in spec.layers:
        if name not in layers:
            raise UnknownLayer(f"{network.name!r} has no layer {name!r}.", nearest(name, layers))
    chosen = [layers[name] for name in spec.layers] or [layer for layer in layers.values() if layer.default]
    for layer in chosen:
        _check_units(layer, spec.units)


def request_cancel(session: Session, atlas_id: str) -> Atlas:
    """Give the atlas up: waiting shards at once, running ones when their workers next report. What is done is kept.

    Raises:
        NotFound: there is no such atlas.
        Conflict: it is over already.
    """
    atlas = lock_atlas(session, atlas_id)
    if atlas.state == AtlasState.CANCELLED:
        return atlas
    if atlas.state not in UNFINISHED:
        raise Conflict(f"The atlas is over already ({_words(atlas.state)}).", "Only unfinished atlases are cancelled.")
    atlas.state, atlas.finished_at = AtlasState.CANCELLED, clock.now(session)
    if atlas.planned_at is None:
        forget_plan(session, atlas_id)
    else:
        _move_shards(session, atlas_id, (ShardState.PENDING,), ShardState.CANCELLED)
    return atlas


def retry_failed(session: Session, atlas_id: str, *, max_open: int | None = None) -> int:
    """Try again what failed, resume what was cancelled; the number of shards that wait again.

    An atlas that has no plan goes back to "queued" (0 shards): the caller asks for a plan again.

    Raises:
        NotFound: there is no such atlas.
        Conflict: there is nothing to try again (the detail says why), or `max_open` atlases are unfinished.
    """
    atlas = lock_atlas(session, atlas_id)
    if max_open is not None and atlas.state not in UNFINISHED:
        _check_open(session, max_open)
    if atlas.planned_at is None:
        _queue_again(atlas)
        return 0
    states = [ShardState.FAILED]
    if atlas.state == AtlasState.CANCELLED:
        states.append(ShardState.CANCELLED)
    count = _move_shards(session, atlas_id, states, ShardState.PENDING)
    if count == 0 and atlas.state != AtlasState.CANCELLED:
        raise Conflict(f"No shard of the atlas has failed ({_words(atlas.state)}).", "There is nothing to try again.")
    start(session, atlas)
    finish_if_done(session, atlas_id)
    return count


def _queue_again(atlas: Atlas) -> None:
    if atlas.state in UNFINISHED:
        raise Conflict(f"The atlas is {_words(atlas.state)}.", "Wait until it is over.")
    atlas.state, atlas.error, atlas.finished_at = AtlasState.QUEUED, None, None
    atlas.plan_attempts, atlas.plan_token, atlas.plan_expires_at = 0, None, None


def _move_shards(session: Session, atlas_id: str, sources: Sequence[ShardState], target: ShardState) -> int:
    moved = update(Shard).where(Shard.atlas_id == atlas_id, Shard.state.in_(sources))
    moved = moved.values(state=target, **(AFRESH if target == ShardState.PENDING else {}))
    session.flush()
    count = session.connection().execute(moved.execution_options(synchronize_session=False)).rowcount
    tallies.recount(session, atlas_id)
    return count


def _normalised(spec: AtlasSpec) -> AtlasSpec:
    """The same wish, said once: layers without repeats, units ascending."""
    layers = tuple(dict.fromkeys(spec.layers))
    return spec.model_copy(update={"layers": layers, "units": tuple(sorted(set(spec.units)))})


def _check_key(key: str | None) -> None:
    if key is not None and not 1 <= len(key) <= MAX_KEY_CHARACTERS:
        detail = f"An Idempotency-Key of {len(key)} characters cannot be kept."
        raise InvalidRequest(detail, f"Use 1 to {MAX_KEY_CHARACTERS} characters.")


def _by_key(session: Session, key: str | None) -> Atlas | None:
    return session.scalar(select(Atlas).where(Atlas.idempotency_key == key)) if key is not None else None


def _same(atlas: Atlas, spec: AtlasSpec, weight: float) -> Atlas:
    if (atlas.spec, atlas.weight) != (spec.model_dump(mode="json"), weight):
        raise Conflict("This Idempotency-Key was used for another atlas.", "Use a new key for a new wish.")
    return atlas


def _check_usable(network: Network, spec: AtlasSpec) -> None:
    if network.state == NetworkState.FAILED:
        raise InvalidRequest(f"The network {network.name!r} cannot be used: {network.error}")
    if network.state != NetworkState.DESCRIBED and (spec.layers or spec.units):
        raise NotDescribed(network.name)


def _check_units(layer: Layer, units: Sequence[int]) -> None:
    wrong = [unit for unit in units if not 0 <= unit < layer.units]
    if wrong:
        detail = f"Layer {layer.name!r} has no unit {wrong[0]}."
        raise UnitOutOfRange(detail, f"It has {layer.units}: 0 to {layer.units - 1}.")


def _check_open(session: Session, max_open: int) -> None:
    count = session.scalar(select(func.count()).select_from(Atlas).where(Atlas.state.in_(UNFINISHED))) or 0
    if count >= max_open:
        raise Conflict(f"{count} atlases are unfinished, and {max_open} may be at once.", "Wait, or cancel one.")


def _recipe_rows(spec: AtlasSpec) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"hash": r.content_hash(), "name": r.name, "title": r.title, "spec": r.model_dump(mode="json")}
        for r in spec.recipes
    ]
    return sorted(rows, key=lambda row: row["hash"])


def _new_atlas(network: Network, spec: AtlasSpec, key: str | None, weight: float, moment: datetime) -> Atlas:
    return Atlas(
        id=time_ordered(moment),
        network_id=network.id,
        spec=spec.model_dump(mode="json"),
        state=AtlasState.QUEUED,
        weight=weight,
        idempotency_key=key,
        created_at=moment,
    )


def _words(state: str) -> str:
    return state.replace("_", " ")
