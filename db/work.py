"""What a lease covers: one kind for each kind of shard, with all that a worker needs to compute it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from core.specs import AtlasSpec, LayerInfo, NetworkSource, ProbeWish, Recipe, ShardKind, Side
from db import quotas
from db.models import Atlas, Layer, Network, Picture, Shard
from db.models import Recipe as Recipes
from db.probe_models import PassPart, ProbePass, TopImage

Layers = tuple[tuple[int, LayerInfo], ...]
"""Id and description of each layer, in forward order."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to compute one shard until it runs out."""

    shard_id: int
    atlas_id: str
    token: str  # 32 hex digits, new with every lease
    worker_id: str
    attempt: int  # 1 for the first
    network: NetworkSource
    network_weights_hash: str

    @property
    def what(self) -> str:
        """The work in a few words, for the log and the list of workers."""
        raise NotImplementedError

    @property
    def about(self) -> dict[str, str | int]:
        """The work for every line of the log that is about it."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class PreferredLease(Lease):
    """Preferred pictures of one layer by one recipe."""

    layer: LayerInfo
    layer_id: int
    recipe: Recipe
    recipe_hash: str
    addresses: tuple[tuple[int, int], ...]  # (unit, seed) of the pictures that are still missing; may be empty

    @property
    def what(self) -> str:
        if not self.addresses:
            return f"{self.layer.name}, nothing missing"
        units = [unit for unit, _ in self.addresses]
        where = f"{self.network.name} {self.layer.name}:{min(units)}-{max(units)}"
        return f"{where} {self.recipe.name}, {len(self.addresses)} images"

    @property
    def about(self) -> dict[str, str | int]:
        units = [unit for unit, _ in self.addresses]
        span = {"units": f"{min(units)}-{max(units)}"} if units else {}
        return {"layer": self.layer.name, "recipe": self.recipe.name, **span}


@dataclass(frozen=True, kw_only=True)
class PassLease(Lease):
    """Part of a pass over a probe set."""

    pass_id: int
    set_id: str
    set_name: str
    wish: ProbeWish

    @property
    def about(self) -> dict[str, str | int]:
        return {"probe_set": self.set_name}


@dataclass(frozen=True, kw_only=True)
class ProbeLease(PassLease):
    """A range of the set's images, to put through the network."""

    layers: Layers
    images: int  # of the whole set
    batch: int  # images in a batch
    first: int
    last: int  # inclusive

    @property
    def what(self) -> str:
        return f"{self.network.name}, images {self.first}-{self.last} of {self.set_name}"


@dataclass(frozen=True, kw_only=True)
class MergeLease(PassLease):
    """Every range's answers, to be put together."""

    layers: Layers
    units: tuple[int, ...]  # of every layer, that views are wanted of; empty: all
    parts: Mapping[int, Sequence[str]]  # layer id -> keys in the store, in the order of the images
    images: int  # of the whole set

    @property
    def what(self) -> str:
        return f"{self.network.name}, the answers to {self.set_name} put together"


@dataclass(frozen=True, kw_only=True)
class TopAddress:
    """An image that a unit answers to most (or least), and where in it."""

    unit: int
    side: Side
    rank: int
    image: int
    position: int  # index into the layer's positions, row-major; -1: it has none


@dataclass(frozen=True, kw_only=True)
class BackwardLease(PassLease):
    """Crops and backward views of some units of one layer."""

    layer: LayerInfo
    layer_id: int
    units: tuple[int, ...]
    tops: tuple[TopAddress, ...]  # by unit, side and rank

    @property
    def what(self) -> str:
        units = f"{self.layer.name}:{self.units[0]}-{self.units[-1]}"
        return f"{self.network.name} {units}, top images in {self.set_name}"

    @property
    def about(self) -> dict[str, str | int]:
        return {**super().about, "layer": self.layer.name, "units": f"{self.units[0]}-{self.units[-1]}"}


def read_lease(session: Session, shard_id: int, token: str, worker_id: str) -> Lease:
    """The lease of a shard that was just leased under `token`."""
    row = session.connection().execute(_WORK, {"shard": shard_id}).one()
    common = {
        "shard_id": shard_id,
        "atlas_id": row.atlas_id,
        "token": token,
        "worker_id": worker_id,
        "attempt": row.attempts,
        "network": NetworkSource.model_validate(row.source),
        "network_weights_hash": row.weights_hash or "",
    }
    if row.kind == ShardKind.PREFERRED:
        return _preferred(session, row, common)
    return _of_pass(session, row, common)


def _preferred(session: Session, row: Row[Any], common: dict[str, Any]) -> PreferredLease:
    return PreferredLease(
        **common,
        layer=LayerInfo.model_validate(row.info),
        layer_id=row.layer_id,
        recipe=Recipe.model_validate(row.spec),
        recipe_hash=row.recipe_hash,
        addresses=_missing(session, row),
    )


def _of_pass(session: Session, row: Row[Any], common: dict[str, Any]) -> PassLease:
    found = session.scalars(select(ProbePass).where(ProbePass.atlas_id == row.atlas_id)).one()
    spec = AtlasSpec.model_validate(row.wish)
    common |= {
        "pass_id": found.id,
        "set_id": found.set_id,
        "set_name": found.set.name,
        "wish": ProbeWish.model_validate(found.spec),
    }
    match ShardKind(row.kind):
        case ShardKind.PROBE:
            return ProbeLease(
                **common,
                layers=pass_layers(found.network, spec),
                images=found.set.images,
                batch=found.batch,
                first=row.first,
                last=row.last,
            )
        case ShardKind.MERGE:
            return MergeLease(
                **common,
                layers=pass_layers(found.network, spec),
                units=spec.units,
                parts=_parts(session, found.id),
                images=found.set.images,
            )
        case _:
            tops = _tops(session, found.id, row.layer_id, row.units)
            layer = LayerInfo.model_validate(row.info)
            return BackwardLease(**common, layer=layer, layer_id=row.layer_id, units=tuple(row.units), tops=tops)


def pass_layers(network: Network, spec: AtlasSpec) -> Layers:
    """The layers that a pass looks at: those that the atlas covers."""
    return tuple((layer.id, LayerInfo.model_validate(layer.info)) for layer in quotas.chosen_layers(network, spec))


def _missing(session: Session, work: Row[Any]) -> tuple[tuple[int, int], ...]:
    span = {"first": work.units[0], "last": work.units[-1]}
    of_it = {"layer": work.layer_id, "recipe": work.recipe_hash, "seeds": work.seeds, **span}
    present = set(session.connection().execute(_STORED, of_it))
    wanted = ((unit, seed) for unit in work.units for seed in range(work.seeds))
    return tuple(address for address in wanted if address not in present)


def _parts(session: Session, pass_id: int) -> Mapping[int, Sequence[str]]:
    parts: defaultdict[int, list[str]] = defaultdict(list)
    found = select(PassPart.layer_id, PassPart.blob).where(PassPart.pass_id == pass_id)
    for layer_id, blob in session.execute(found.order_by(PassPart.layer_id, PassPart.first)):
        parts[layer_id].append(blob)
    return parts


def _tops(session: Session, pass_id: int, layer_id: int, units: list[int]) -> tuple[TopAddress, ...]:
    mine = select(TopImage).where(
        TopImage.pass_id == pass_id, TopImage.layer_id == layer_id, TopImage.unit.between(units[0], units[-1])
    )
    rows = session.scalars(mine.order_by(TopImage.unit, TopImage.side.desc(), TopImage.rank))
    return tuple(
        TopAddress(unit=row.unit, side=Side(row.side), rank=row.rank, image=row.image, position=row.position)
        for row in rows
        if row.unit in set(units)
    )


# --- the statements of every shard, made once: building them takes longer than running them --------------------------

_WORK = (
    select(Shard.atlas_id, Shard.kind, Shard.layer_id, Shard.recipe_hash, Shard.units, Shard.seeds, Shard.attempts)
    .add_columns(Shard.first, Shard.last, Layer.info, Network.source, Network.weights_hash, Recipes.spec)
    .add_columns(Atlas.spec.label("wish"))
    .join_from(Shard, Atlas, Atlas.id == Shard.atlas_id)
    .join(Network, Network.id == Atlas.network_id)
    .outerjoin(Layer, Layer.id == Shard.layer_id)
    .outerjoin(Recipes, Recipes.hash == Shard.recipe_hash)
    .where(Shard.id == bindparam("shard"))
)
_STORED = select(Picture.unit, Picture.seed).where(
    Picture.layer_id == bindparam("layer"),
    Picture.recipe_hash == bindparam("recipe"),
    Picture.seed < bindparam("seeds"),
    Picture.unit.between(bindparam("first"), bindparam("last")),
)
