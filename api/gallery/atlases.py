"""What the pages say of an atlas."""

from dataclasses import dataclass
from datetime import datetime

from api.gallery import addresses
from api.gallery.words import SHARD_STATES, count, duration, percent, plural, unit_ranges
from core.specs import AtlasSpec
from db.queries.atlases import AtlasItem, AtlasView, Failure, Progress

LIVE = frozenset({"queued", "planning", "running"})
CAN_RETRY = frozenset({"complete_with_failures", "failed", "cancelled"})


@dataclass(frozen=True)
class AtlasRow:
    """An atlas in words."""

    id: str
    network: str
    network_address: str
    state: str
    error: str | None
    created_at: datetime
    styles: str
    seeds: int
    layers: str
    fraction: float
    images: int
    images_done: int
    words: list[str]
    shards: list[tuple[str, int]]  # (words for the state, how many)

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def can_retry(self) -> bool:
        return self.state in CAN_RETRY


@dataclass(frozen=True)
class FailedShard:
    """A shard that was given up, in words."""

    layer: str
    layer_address: str
    units: str
    style: str
    error: str


def atlas_row(atlas: AtlasItem) -> AtlasRow:
    """An atlas as its page and the home page show it."""
    spec, progress = atlas.spec, atlas.progress
    return AtlasRow(
        id=atlas.id,
        network=atlas.network,
        network_address=addresses.network(atlas.network),
        state=atlas.state.value,
        error=atlas.error,
        created_at=atlas.created_at,
        styles=", ".join(recipe.title or recipe.name for recipe in spec.recipes),
        seeds=spec.seeds,
        layers=_layers(spec),
        fraction=progress.fraction,
        images=progress.images,
        images_done=progress.images_done,
        words=_words(atlas),
        shards=[(SHARD_STATES[s], progress.shards[s]) for s in SHARD_STATES if s in progress.shards],
    )


def failed_shards(atlas: AtlasView) -> list[FailedShard]:
    """The shards of an atlas that failed."""
    return [_failed(atlas.network, failure) for failure in atlas.failures]


def _failed(network: str, failure: Failure) -> FailedShard:
    return FailedShard(
        layer=failure.layer,
        layer_address=addresses.layer(network, failure.layer),
        units=unit_ranges(failure.units),
        style=failure.recipe.title or failure.recipe.name,
        error=failure.error or "no reason was given",
    )


def _layers(spec: AtlasSpec) -> str:
    if not spec.layers:
        return "all"
    return ", ".join(spec.layers) if len(spec.layers) <= 3 else plural(len(spec.layers), "layer")


def _words(atlas: AtlasItem) -> list[str]:
    """How far it is and how long it will take or took."""
    progress, state = atlas.progress, atlas.state.value
    if state == "queued":
        return ["A worker will plan it; until then its size is not known"]
    if state == "planning":
        return ["A worker is finding out how much work it is"]
    if state == "running":
        return _pace(progress)
    done = f"{count(progress.images_done)} of {plural(progress.images, 'picture')}"
    failed = progress.shards.get("failed", 0)  # type: ignore[call-overload]  # a StrEnum's member equals its value
    took = atlas.finished_at and f"took {duration((atlas.finished_at - atlas.created_at).total_seconds())}"
    return [words for words in (done, took, f"{plural(failed, 'shard')} failed" if failed else "") if words]


def _pace(progress: Progress) -> list[str]:
    words = [
        f"{percent(progress.fraction)}: {count(progress.images_done)} of {plural(progress.images, 'picture')}",
        f"{progress.images_per_second:.2g} a second" if progress.images_per_second else "",
        f"about {duration(progress.seconds_left)} left" if progress.seconds_left is not None else "",
    ]
    failed = progress.shards.get("failed", 0)  # type: ignore[call-overload]
    return [w for w in (*words, f"{plural(failed, 'shard')} failed so far" if failed else "") if w]
