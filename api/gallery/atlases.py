"""What the pages say of an atlas."""

from dataclasses import dataclass
from datetime import datetime

from api.gallery import addresses
from api.gallery.words import SHARD_STATES, count, duration, percent, plural, rate, unit_ranges, work_words
from core.specs import AtlasSpec, ShardKind
from db.models import ShardState
from db.queries.atlases import AtlasItem, AtlasView, Failure

LIVE = frozenset({"queued", "planning", "running"})
_WAITING = {
    "queued": "It waits for a worker that plans it",
    "planning": "A worker is finding out how much work it is",
}
CAN_RETRY = frozenset({"complete_with_failures", "failed", "cancelled"})


@dataclass(frozen=True)
class AtlasRow:
    """An atlas in words."""

    id: str
    owner: str
    network: str
    network_address: str
    state: str
    error: str | None
    created_at: datetime
    styles: str
    many: str  # how many styles and pictures
    seeds: int
    layers: str
    fraction: float
    images: int
    images_done: int
    pace: list[str]  # rate, time left or taken, failures
    words: list[str]  # the same, with how far it is
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
        owner=atlas.owner,
        network=atlas.network,
        network_address=addresses.network(atlas.network),
        state=atlas.state.value,
        error=atlas.error,
        created_at=atlas.created_at,
        styles=_styles(spec),
        many=_many(spec),
        seeds=spec.seeds,
        layers=_layers(spec),
        fraction=progress.fraction,
        images=progress.images,
        images_done=progress.images_done,
        pace=_pace(atlas),
        words=[*_far(atlas), *_pace(atlas)],
        shards=[(SHARD_STATES[state], number) for state, number in sorted(progress.shards.items(), key=_shard_order)],
    )


def failed_shards(atlas: AtlasView) -> list[FailedShard]:
    """The shards of an atlas that failed."""
    return [_failed(atlas.network, failure) for failure in atlas.failures]


def _shard_order(entry: tuple[ShardState, int]) -> int:
    return list(SHARD_STATES).index(entry[0])


def _failed(network: str, failure: Failure) -> FailedShard:
    style = (failure.recipe.title or failure.recipe.name) if failure.recipe else ""
    is_range = failure.kind == ShardKind.PROBE
    return FailedShard(
        layer=failure.layer or "all layers",
        layer_address=addresses.layer(network, failure.layer) if failure.layer else addresses.network(network),
        units=f"images {failure.first_image}–{failure.last_image}" if is_range else unit_ranges(failure.units) or "all",
        style=work_words(failure.kind, style),
        error=failure.error or "no reason was given",
    )


def _styles(spec: AtlasSpec) -> str:
    styles = [recipe.title or recipe.name for recipe in spec.recipes]
    return ", ".join([*styles, "top images"] if spec.probe else styles)


def _many(spec: AtlasSpec) -> str:
    made = f"{plural(len(spec.recipes), 'style')}, {plural(spec.seeds, 'picture')} each" if spec.recipes else ""
    shown = f"{plural(spec.probe.top, 'top image')} each" if spec.probe else ""
    return "; ".join(filter(None, (made, shown)))


def _layers(spec: AtlasSpec) -> str:
    if not spec.layers:
        return "all"
    return ", ".join(spec.layers) if len(spec.layers) <= 3 else plural(len(spec.layers), "layer")


def _far(atlas: AtlasItem) -> list[str]:
    """How far it is, once that is known."""
    progress = atlas.progress
    if not progress.images:
        return []
    done = f"{count(progress.images_done)} of {plural(progress.images, 'picture')}"
    return [f"{percent(progress.fraction)}: {done}" if atlas.state.value in LIVE else done]


def _pace(atlas: AtlasItem) -> list[str]:
    """How fast it goes and how long it will take, or took; what failed."""
    if atlas.state.value in _WAITING:
        return [_WAITING[atlas.state.value]]
    progress = atlas.progress
    failed = progress.shards.get(ShardState.FAILED, 0)
    words = [
        rate(progress.images_per_second) if progress.images_per_second else "",
        f"about {duration(progress.seconds_left)} left" if progress.seconds_left is not None else "",
        f"took {duration((atlas.finished_at - atlas.created_at).total_seconds())}" if atlas.finished_at else "",
        f"{plural(failed, 'shard')} failed" if failed else "",
    ]
    return [told for told in words if told]
