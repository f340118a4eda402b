"""Commands on passes over probe sets: begun by a planner, then fed by ranges, put together, and given their views.

A pass belongs to one atlas. Its results are hidden until they are whole: ranges until all are put together, and what is
put together until the last layer's rows are written. Writing any of it twice is writing it once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.errors import LostLease
from core.specs import AtlasSpec, ShardSpec
from db import clock
from db.bulk import insert_missing
from db.completion import lock_atlas
from db.models import Atlas, AtlasState, Shard, ShardState
from db.planning import PlanLease, lock_planned
from db.probe_models import (
    PassLayer,
    PassPart,
    PassState,
    ProbePass,
    TopImage,
    UnitAnswers,
    UnitLabel,
    UnitView,
)
from db.probe_sets import lock as lock_set
from db.probe_sets import note_skips
from db.usable_sets import find_set
from db.work import BackwardLease, Lease, MergeLease, PassLease, ProbeLease

Kind = TypeVar("Kind", bound=Lease)


def begin_pass(session: Session, lease: PlanLease, batch: int) -> bool:
    """Note the pass that the planned atlas makes; False if the very same one exists and is complete already.

    Raises:
        LostLease: somebody else plans the atlas, or it was given up.
        NotFound, ProbeSetChanged: its set cannot be used.
    """
    atlas, wish = lock_planned(session, lease), lease.spec.probe
    if wish is None:
        raise ValueError(f"atlas {atlas.id} asks for no pass")
    find_set(session, wish.set, hold=True)
    if _made_before(session, atlas, lease.spec):
        session.execute(delete(ProbePass).where(ProbePass.atlas_id == atlas.id))  # of a planner that got lost
        return False
    row = {
        "atlas_id": atlas.id,
        "network_id": atlas.network_id,
        "set_id": wish.set,
        "spec": wish.model_dump(mode="json"),
        "batch": batch,
        "partial": bool(lease.spec.units or lease.spec.layers),
        "state": PassState.RUNNING,
        "images": 0,
        "created_at": clock.now(session),
    }
    insert_missing(session, ProbePass, [row])
    session.execute(update(ProbePass).where(ProbePass.atlas_id == atlas.id).values(batch=batch))
    return True


def _made_before(session: Session, atlas: Atlas, spec: AtlasSpec) -> bool:
    """Whether another atlas has made the same pass over the same layers, to its end."""
    if spec.probe is None:
        return False
    theirs = select(Atlas.spec).join(ProbePass, ProbePass.atlas_id == Atlas.id)
    whole = theirs.where(ProbePass.network_id == atlas.network_id, ProbePass.set_id == spec.probe.set)
    found = session.scalars(whole.where(ProbePass.state == PassState.MERGED, Atlas.state == AtlasState.COMPLETE))
    specs = (AtlasSpec.model_validate(row) for row in found)
    return any(other.probe == spec.probe and _covers(other, spec) for other in specs)


def _covers(other: AtlasSpec, spec: AtlasSpec) -> bool:
    """Whether the other atlas is over the same layers, with views of every unit that this one wants."""
    units = not other.units or (bool(spec.units) and set(spec.units) <= set(other.units))
    return set(other.layers) == set(spec.layers) and units


# --- a range -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Part:
    """What the units answered to a range of images."""

    blobs: Mapping[int, str]  # layer id -> key in the store
    images: int  # that were looked at
    skipped: tuple[tuple[str, str], ...]  # name and reason of those that could not be read
    seconds: float

    def check(self, lease: Lease) -> None:
        missing = {layer_id for layer_id, _ in _expect(lease, ProbeLease).layers} - set(self.blobs)
        if missing:
            raise ValueError(f"expected answers of every layer, {len(missing)} have none: {sorted(missing)[:3]}")

    def store(self, session: Session, lease: Lease, moment: datetime) -> None:
        mine = _expect(lease, ProbeLease)
        self._list_skipped(session, mine.set_id)
        find_set(session, mine.set_id, hold=True)
        here = {"pass_id": mine.pass_id, "first": mine.first, "last": mine.last}
        rows = [{**here, "layer_id": layer_id, "blob": blob} for layer_id, blob in sorted(self.blobs.items())]
        insert_missing(session, PassPart, rows)
        counted = update(ProbePass).where(ProbePass.id == mine.pass_id).values(images=ProbePass.images + self.images)
        session.execute(counted.execution_options(synchronize_session=False))

    def _list_skipped(self, session: Session, set_id: str) -> None:
        """Add them to the set's list and count, once each however many passes skip them."""
        if not self.skipped:
            return
        found = lock_set(session, set_id)  # before anybody holds it for reading: two who did could not go on
        skips = [{"set_id": set_id, "name": name, "reason": reason} for name, reason in sorted(self.skipped)]
        found.skipped += len(note_skips(session, skips))


# --- put together ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class UnitRow:
    """One unit's answers, as `db.probe_models` keeps them."""

    unit: int
    mean: float
    deviation: float
    lowest: float
    highest: float
    active: float
    sparseness: float | None
    selectivity: float | None
    dead: bool
    histogram: Sequence[tuple[float, float, int]]
    labels: Sequence[tuple[int, float, float]]  # label, mean, effect: the preferred first
    tops: Mapping[str, Sequence[tuple[int, float, int]]]  # side -> (image, activation, position), by rank


def store_layer(session: Session, lease: MergeLease, layer_id: int, blob: str, units: Sequence[UnitRow]) -> None:
    """Write what is put together of one layer; nobody sees it before the shard is committed.

    Raises:
        LostLease: the shard is somebody else's.
        ProbeSetChanged: the set was deleted.
    """
    _check_held(session, lease)
    find_set(session, lease.set_id, hold=True)
    mine = {"pass_id": lease.pass_id, "layer_id": layer_id}
    insert_missing(session, PassLayer, [{**mine, "blob": blob}])
    insert_missing(session, UnitAnswers, [{**mine, **_answers(unit)} for unit in units])
    insert_missing(
        session,
        UnitLabel,
        [
            {**mine, "unit": unit.unit, "rank": rank, "label": label, "mean": mean, "effect": effect}
            for unit in units
            for rank, (label, mean, effect) in enumerate(unit.labels)
        ],
    )
    insert_missing(session, TopImage, [{**mine, **row} for unit in units for row in _tops(unit)])


def _answers(unit: UnitRow) -> dict[str, Any]:
    row = asdict(unit)
    return {name: value for name, value in row.items() if name not in {"labels", "tops"}} | {"similar": []}


def _tops(unit: UnitRow) -> list[dict[str, Any]]:
    return [
        {"unit": unit.unit, "side": side, "rank": rank, "image": image, "activation": activation, "position": position}
        for side, tops in unit.tops.items()
        for rank, (image, activation, position) in enumerate(tops)
    ]


def forget_layers(session: Session, lease: MergeLease) -> None:
    """Delete what an earlier attempt to put the answers together has written.

    Raises:
        LostLease: the shard is somebody else's.
    """
    _check_held(session, lease)
    for table in (TopImage, UnitLabel, UnitAnswers, PassLayer):
        session.execute(delete(table).where(table.pass_id == lease.pass_id))


@dataclass(frozen=True, kw_only=True)
class Merged:
    """Everything is put together; what is similar to what, and the shards of crops and views that follow."""

    similar: Mapping[tuple[int, int], Sequence[tuple[int, int, float]]]  # (layer id, unit) -> the same, correlation
    views: list[ShardSpec]
    seconds: float
    images: int = 0

    def check(self, lease: Lease) -> None:
        _expect(lease, MergeLease)

    def store(self, session: Session, lease: Lease, moment: datetime) -> None:
        mine = _expect(lease, MergeLease)
        find_set(session, mine.set_id, hold=True)
        rows = [
            {"pass_id": mine.pass_id, "layer_id": layer_id, "unit": unit, "similar": [list(each) for each in found]}
            for (layer_id, unit), found in self.similar.items()
        ]
        if rows:
            session.execute(update(UnitAnswers), rows)
        whole = update(ProbePass).where(ProbePass.id == mine.pass_id)
        session.execute(whole.values(state=PassState.MERGED, merged_at=moment))


# --- views -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ViewRow:
    """Crops, or backward views of one kind, of one unit's top images; see `db.probe_models.UnitView`."""

    unit: int
    side: str
    kind: str
    blob: str | None
    why: str | None
    columns: int
    count: int
    width: int
    height: int
    boxes: Sequence[Sequence[float]] = ()
    sheet: str | None = None
    sheet_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class Views:
    """The crops and backward views of some units."""

    rows: Sequence[ViewRow]
    images: int  # top images that were looked at
    seconds: float

    def check(self, lease: Lease) -> None:
        missing = set(_expect(lease, BackwardLease).units) - {row.unit for row in self.rows}
        if missing:
            raise ValueError(f"expected views of every unit, {len(missing)} have none: {sorted(missing)[:3]}")

    def store(self, session: Session, lease: Lease, moment: datetime) -> None:
        mine = _expect(lease, BackwardLease)
        find_set(session, mine.set_id, hold=True)
        shared = {"pass_id": mine.pass_id, "layer_id": mine.layer_id}
        insert_missing(session, UnitView, [{**asdict(row), **shared} for row in self.rows])


def _check_held(session: Session, lease: PassLease) -> None:
    """Hold the atlas's row until the transaction ends: nobody commits or reaps meanwhile.

    Raises:
        LostLease: the shard is somebody else's.
    """
    lock_atlas(session, lease.atlas_id)
    mine = Shard.id == lease.shard_id, Shard.lease_token == lease.token, Shard.state == ShardState.RUNNING
    if session.scalar(select(Shard.id).where(*mine)) is None:
        raise LostLease(f"The lease of shard {lease.shard_id} was lost.", "Its result must not be committed.")


def _expect(lease: Lease, kind: type[Kind]) -> Kind:
    if not isinstance(lease, kind):
        raise TypeError(f"shard {lease.shard_id}: expected a {kind.__name__}, got a {type(lease).__name__}")
    return lease
