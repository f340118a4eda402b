"""What a lease covers: one kind for each kind of shard, with all that a worker needs to compute it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from core.specs import AtlasSpec, LayerInfo, NetworkSource, ProbeWish, Recipe, ShardKind, Side
from db import quotas
from db.models import Atlas, Layer, Network, Picture, Shard
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
    set_hash: str  # of its content
    wish: ProbeWish

    @property
    def about(self) -> dict[str, str | int]:
        return {"probe_set": self.set_name}


@dataclass(frozen=True, kw_only=True)
class ProbeLease(PassLease):
    """A range of the set's images, to put through the network."""

    layers: Layers
    labels: int  # how many the set has
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
    parts: Mapping[int, Sequence[str]]  # layer id -> keys in the store, in the order of the images
    labels: int  # how many the set has
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
    whole = joinedload(Shard.layer), joinedload(Shard.recipe), joinedload(Atlas.network)
    statement = select(Shard, Atlas).join(Atlas, Atlas.id == Shard.atlas_id).where(Shard.id == shard_id)
    found = session.execute(statement.options(*whole).execution_options(populate_existing=True))
    shard, atlas = found.one()
    network = atlas.network
    common = {
        "shard_id": shard.id,
        "atlas_id": shard.atlas_id,
        "token": token,
        "worker_id": worker_id,
        "attempt": shard.attempts,
        "network": NetworkSource.model_validate(network.source),
        "network_weights_hash": network.weights_hash or "",
    }
    if shard.kind == ShardKind.PREFERRED:
        return _preferred(session, shard, common)
    return _of_pass(session, atlas, shard, common)


def _preferred(session: Session, shard: Shard, common: dict[str, Any]) -> PreferredLease:
    layer_id, layer = _layer_of(shard)
    if shard.recipe is None or shard.recipe_hash is None:
        raise ValueError(f"shard {shard.id} has no recipe")
    return PreferredLease(
        **common,
        layer=layer,
        layer_id=layer_id,
        recipe=Recipe.model_validate(shard.recipe.spec),
        recipe_hash=shard.recipe_hash,
        addresses=_missing(session, shard),
    )


def _of_pass(session: Session, atlas: Atlas, shard: Shard, common: dict[str, Any]) -> PassLease:
    found = session.scalars(select(ProbePass).where(ProbePass.atlas_id == atlas.id)).one()
    common |= {
        "pass_id": found.id,
        "set_id": found.set_id,
        "set_name": found.set.name,
        "set_hash": found.set.content_hash or "",
        "wish": ProbeWish.model_validate(found.spec),
    }
    match ShardKind(shard.kind):
        case ShardKind.PROBE:
            return ProbeLease(
                **common,
                layers=pass_layers(atlas.network, AtlasSpec.model_validate(atlas.spec)),
                labels=len(found.set.labels),
                images=found.set.images,
                batch=found.batch,
                first=shard.first,
                last=shard.last,
            )
        case ShardKind.MERGE:
            return MergeLease(
                **common,
                layers=pass_layers(atlas.network, AtlasSpec.model_validate(atlas.spec)),
                parts=_parts(session, found.id),
                labels=len(found.set.labels),
                images=found.set.images,
            )
        case _:
            layer_id, layer = _layer_of(shard)
            tops = _tops(session, found.id, layer_id, shard.units)
            return BackwardLease(**common, layer=layer, layer_id=layer_id, units=tuple(shard.units), tops=tops)


def pass_layers(network: Network, spec: AtlasSpec) -> Layers:
    """The layers that a pass looks at: those that the atlas covers."""
    return tuple((layer.id, _info(layer)) for layer in quotas.chosen_layers(network, spec))


def _layer_of(shard: Shard) -> tuple[int, LayerInfo]:
    if shard.layer is None:
        raise ValueError(f"shard {shard.id} has no layer")
    return shard.layer.id, _info(shard.layer)


def _info(layer: Layer) -> LayerInfo:
    return LayerInfo.model_validate(layer.info)


def _missing(session: Session, shard: Shard) -> tuple[tuple[int, int], ...]:
    stored = select(Picture.unit, Picture.seed).where(
        Picture.layer_id == shard.layer_id,
        Picture.recipe_hash == shard.recipe_hash,
        Picture.seed < shard.seeds,
        Picture.unit.between(shard.units[0], shard.units[-1]),
    )
    present = set(session.execute(stored))
    wanted = ((unit, seed) for unit in shard.units for seed in range(shard.seeds))
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
