"""What holds after every fault: the atlas is complete, nothing is lost, doubled or orphaned, and the log is short."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import select

from core.specs import AtlasSpec
from db import networks, tallies
from db.models import Picture, Shard, ShardState
from db.queries import blobs
from store.folder import FolderStore
from tests.faults.fleet import Fleet
from tests.services import Installation
from workers.sweep import missing, sweep

Address = tuple[int, str, int, int]
"""Id of a layer, hash of a recipe, unit, seed."""


def check(fleet: Fleet, *atlas_ids: str, seconds: float = 120.0) -> None:
    """Wait until the atlases are complete, which they become by themselves; then look at everything."""
    for atlas_id in atlas_ids:
        check_atlas(fleet.installation, atlas_id, seconds)
    check_store(fleet.installation)
    assert "Traceback" not in "".join(fleet.log(worker) for worker in fleet.workers)


def check_atlas(installation: Installation, atlas_id: str, seconds: float = 120.0) -> None:
    """Every picture once, every unit in one shard, every shard done, and the tallies say so."""
    atlas = installation.wait_state(atlas_id, "complete", "complete_with_failures", "failed", seconds=seconds)
    shards = installation.shards(atlas_id)
    assert (atlas.state, {shard.state for shard in shards}) == ("complete", {ShardState.DONE})
    wanted = addresses(installation, AtlasSpec.model_validate(atlas.spec))
    assert atlas.images == len(wanted)
    assert not_once(planned(shards), wanted) == {}
    assert not_once(made(installation, wanted), wanted) == {}
    check_tallies(installation, atlas_id, shards)


def addresses(installation: Installation, spec: AtlasSpec) -> set[Address]:
    """Everything that the wish, for a whole network unless it names layers or units, asks for."""
    with installation.sessions() as session:
        layers = networks.find(session, spec.network).layers
    chosen = [layer for layer in layers if (layer.name in spec.layers if spec.layers else layer.info["default"])]
    units = {layer.id: spec.units or range(layer.units) for layer in chosen}
    hashes = [recipe.content_hash() for recipe in spec.recipes]
    return {(la, h, unit, seed) for la in units for h in hashes for unit in units[la] for seed in range(spec.seeds)}


def planned(shards: list[Shard]) -> Counter[Address]:
    return Counter(
        (shard.layer_id, shard.recipe_hash, unit, seed)
        for shard in shards
        for unit in shard.units
        for seed in range(shard.seeds)
    )


def made(installation: Installation, wanted: set[Address]) -> Counter[Address]:
    """How often each picture of the wish's recipes is there."""
    hashes = {recipe_hash for _, recipe_hash, _, _ in wanted}
    columns = select(Picture.layer_id, Picture.recipe_hash, Picture.unit, Picture.seed)
    with installation.sessions() as session:
        rows = session.execute(columns.where(Picture.recipe_hash.in_(hashes))).all()
    return Counter((layer_id, recipe_hash, unit, seed) for layer_id, recipe_hash, unit, seed in rows)


def not_once(found: Counter[Address], wanted: set[Address]) -> dict[Address, int]:
    return {address: found[address] for address in wanted | set(found) if found[address] != (address in wanted)}


def check_tallies(installation: Installation, atlas_id: str, shards: list[Shard]) -> None:
    """The tallies, kept as shards ended, are the sums over the shards."""
    with installation.sessions() as session:
        kept = tallies.of_atlas(session, atlas_id)
    for state, counted in ((tallies.PLANNED, shards), (ShardState.DONE, shards), (ShardState.FAILED, [])):
        sums = asdict(tallies.Sums.of(counted))
        if state == tallies.PLANNED:  # of the plan, nothing is computed yet
            sums |= {"computed_seconds": 0.0, "computed_cost_seconds": 0.0}
        assert asdict(kept[state]) == pytest.approx(sums), state


def check_store(installation: Installation) -> None:
    """Rows name nothing that is not there, and the sweep finds all that no row names."""
    store = installation.store
    assert isinstance(store, FolderStore)
    assert list(missing(installation.sessions, store)) == []
    with installation.sessions() as session:
        named = set(blobs.keys(session))
    orphans = {entry.key for entry, _ in sweep(installation.sessions, store, 0, delete=False)}
    assert files(store.root) == named | orphans
    assert not named & orphans


def files(root: Path) -> set[str]:
    """Names of all files but those being written, which the store itself clears away."""
    return {path.name for path in root.rglob("*") if path.is_file() and path.parent.name != "partial"}
