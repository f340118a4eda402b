"""Commands on atlases: wished for, cancelled, tried again. How one is planned is in `db.planning`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.errors import Conflict, InvalidRequest, NotDescribed, UnitOutOfRange, UnknownLayer, nearest
from core.specs import LOCAL_OWNER, MAX_WEIGHT, MIN_WEIGHT, AtlasSpec, DeviceKind, Priority
from db import clock, networks, quotas, tallies
from db.bulk import insert_missing
from db.completion import UNFINISHED, finish_if_done, lock_atlas, lock_owner, start
from db.ids import time_ordered
from db.models import Atlas, AtlasState, Layer, Network, NetworkState, Recipe, Shard, ShardState
from db.planning import forget_plan
from db.usable_sets import find_set

MAX_KEY_CHARACTERS = 200
AFRESH = {
    "attempts": 0, "setbacks": 0, "retry_at": None, "error": None, "enqueued_at": None, "fraction": 0.0,
    "finished_at": None,
}  # fmt: skip
"""What is forgotten of a shard that is tried again."""


def create(  # noqa: PLR0913  # an atlas's own columns, each by its name
    session: Session,
    spec: AtlasSpec,
    *,
    owner: str = LOCAL_OWNER,
    device_kind: DeviceKind = DeviceKind.ANY,
    priority: Priority | None = None,
    weight: float = 1.0,
    idempotency_key: str | None = None,
    max_open: int,
    max_images_per_day: int = 0,
    max_images: int = 0,
) -> tuple[Atlas, bool]:
    """The atlas that `spec` wishes for, and whether it is new: the same key and wish of an owner give the same atlas.

    Args:
        session: in a writing transaction; the owner's row is locked until its end.
        spec: what it covers.
        owner: whose it is.
        device_kind: what may compute it.
        priority: who is served first; None: its plan's size will decide.
        weight: its share of the workers beside its owner's other atlases.
        idempotency_key: the owner's name for this wish.
        max_open: atlases of the owner that may be unfinished at once, unless their token says otherwise.
        max_images_per_day: unit-images that they may ask for in 24 hours (0: any number), unless it says otherwise.
        max_images: unit-images that it may cover (0: any number).

    Raises:
        UnknownNetwork, UnknownLayer, UnitOutOfRange: the wish names what is not there.
        NotDescribed: it names layers or units of a network that no worker has looked at; the caller then asks for
            that with `networks.request_description`, in a transaction of its own, as this one is rolled back.
        InvalidRequest: the network cannot be used, with its error; the key is too long; or the weight is none.
        Conflict: the key was used with another wish.
        NotFound, ProbeSetChanged: its probe set is not there, or not ready.
        OverQuota: the owner has too many unfinished atlases, or asks for too many unit-images.
    """
    _check_key(idempotency_key)
    _check_weight(weight)
    spec = _normalised(session, spec)
    lock_owner(session, owner)
    if (earlier := _by_key(session, owner, idempotency_key)) is not None:
        return _same(earlier, spec, device_kind, priority, weight), False
    network = networks.find(session, spec.network)
    _check_usable(network, spec)
    check_spec(network, spec)
    images = quotas.images_of(session, network, spec)
    quotas.check_size(images, max_images)
    quotas.check_open(session, owner, max_open)
    quotas.check_images(session, owner, images, max_images_per_day)
    insert_missing(session, Recipe, _recipe_rows(spec))
    atlas = _new_atlas(network, spec, clock.now(session))
    atlas.owner, atlas.device_kind, atlas.priority, atlas.weight = owner, device_kind, priority, weight
    atlas.idempotency_key, atlas.images = idempotency_key, images or 0
    session.add(atlas)
    session.flush()
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
    for layer in quotas.chosen_layers(network, spec):
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


def weigh(session: Session, atlas_id: str, weight: float) -> Atlas:
    """Give the atlas another share of the workers beside its owner's others, from the next shard on.

    Raises:
        InvalidRequest: that is no weight.
        NotFound: there is no such atlas.
        Conflict: it is over already.
    """
    _check_weight(weight)
    atlas = lock_atlas(session, atlas_id)
    if atlas.state not in UNFINISHED:
        raise Conflict(f"The atlas is over already ({_words(atlas.state)}).", "Only unfinished atlases are weighed.")
    atlas.weight = weight
    return atlas


def retry_failed(session: Session, atlas_id: str, *, max_open: int | None = None) -> int:
    """Try again what failed, resume what was cancelled; the number of shards that wait again.

    An atlas that has no plan goes back to "queued" (0 shards): the caller asks for a plan again.

    Raises:
        NotFound: there is no such atlas.
        Conflict: there is nothing to try again (the detail says why).
        OverQuota: `max_open` atlases of its owner (or as many as their token allows) are unfinished.
    """
    atlas = lock_atlas(session, atlas_id)
    if max_open is not None and atlas.state not in UNFINISHED:
        lock_owner(session, atlas.owner)
        quotas.check_open(session, atlas.owner, max_open)
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
    finish_if_done(session, atlas)
    return count


def _queue_again(atlas: Atlas) -> None:
    if atlas.state in UNFINISHED:
        raise Conflict(f"The atlas is {_words(atlas.state)}.", "Wait until it is over.")
    if atlas.state == AtlasState.FAILED:
        atlas.images = 0  # to be counted anew: while it was failed it counted nothing
    atlas.state, atlas.error, atlas.finished_at = AtlasState.QUEUED, None, None
    atlas.plan_attempts, atlas.plan_token, atlas.plan_expires_at = 0, None, None


def _move_shards(session: Session, atlas_id: str, sources: Sequence[ShardState], target: ShardState) -> int:
    moved = update(Shard).where(Shard.atlas_id == atlas_id, Shard.state.in_(sources))
    moved = moved.values(state=target, **(AFRESH if target == ShardState.PENDING else {}))
    session.flush()
    count = session.connection().execute(moved.execution_options(synchronize_session=False)).rowcount
    tallies.recount(session, atlas_id)
    return count


def _normalised(session: Session, spec: AtlasSpec) -> AtlasSpec:
    """The same wish, said once: layers without repeats, units ascending, the probe set by its id."""
    layers = tuple(dict.fromkeys(spec.layers))
    probe = spec.probe and spec.probe.model_copy(update={"set": find_set(session, spec.probe.set).id})
    return spec.model_copy(update={"layers": layers, "units": tuple(sorted(set(spec.units))), "probe": probe})


def _check_key(key: str | None) -> None:
    if key is not None and not 1 <= len(key) <= MAX_KEY_CHARACTERS:
        detail = f"An Idempotency-Key of {len(key)} characters cannot be kept."
        raise InvalidRequest(detail, f"Use 1 to {MAX_KEY_CHARACTERS} characters.")


def _check_weight(weight: float) -> None:
    if not MIN_WEIGHT <= weight <= MAX_WEIGHT:  # also refuses what is not a number
        raise InvalidRequest(f"An atlas cannot weigh {weight:g}.", f"Use {MIN_WEIGHT:g} to {MAX_WEIGHT:g}.")


def _by_key(session: Session, owner: str, key: str | None) -> Atlas | None:
    if key is None:
        return None
    return session.scalar(select(Atlas).where(Atlas.owner == owner, Atlas.idempotency_key == key))


def _same(atlas: Atlas, spec: AtlasSpec, device_kind: DeviceKind, priority: Priority | None, weight: float) -> Atlas:
    stored = (AtlasSpec.model_validate(atlas.spec), atlas.device_kind, atlas.weight)
    decided = priority is None or priority == atlas.priority  # None: the plan may have decided since
    if stored != (spec, device_kind, weight) or not decided:
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


def _recipe_rows(spec: AtlasSpec) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"hash": r.content_hash(), "name": r.name, "title": r.title, "spec": r.model_dump(mode="json")}
        for r in spec.recipes
    ]
    return sorted(rows, key=lambda row: row["hash"])


def _new_atlas(network: Network, spec: AtlasSpec, moment: datetime) -> Atlas:
    return Atlas(
        id=time_ordered(moment),
        network_id=network.id,
        spec=spec.model_dump(mode="json"),
        state=AtlasState.QUEUED,
        created_at=moment,
    )


def _words(state: str) -> str:
    return state.replace("_", " ")
