"""Fills a database and a picture store with a small made-up gallery: every page has something to show.

The pictures are drawn here (waves, gratings and blobs), so that no network has to run:

    python -m tests.browser.seed FOLDER
"""

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import insert
from sqlalchemy.orm import Session

from core.recipes import DEFAULT_RECIPES, FOURIER
from core.settings import Settings
from core.specs import (
    SHEET_COLUMNS,
    SHEET_TILES,
    THUMBNAIL_PIXELS,
    AtlasSpec,
    LayerInfo,
    NetworkSource,
    Recipe,
    Window,
)
from db import models, tallies
from db.migrate import upgrade
from db.probe_models import PictureSearch
from db.session import make_engine, make_sessions
from store import PictureStore, open_store
from tests import answers

INPUT = 64
DRAWINGS = 16  # for each layer, recipe and seed
WEIGHTS_HASH = "5eed" * 16
LABELS = ("red disc", "tabby, tabby cat", "lighthouse", "hot-air balloon", "lemon", "coral reef", "zebra", "peacock",
          "castle", "starfish", "umbrella", "honeycomb", "violin", "jellyfish", "steam train", "sunflower")  # fmt: skip
DEAD_UNITS = (5, 11)
NON_FINITE_UNIT = 9
DONE = "01JATLASDONE00000000000001"
WITH_FAILURES = "01JATLASFAIL00000000000002"
LIVE = "01JATLASLIVE00000000000003"
SEARCH_DONE = "01jsearchd0ne0000000000001"
SEARCH_WAITS = "01jsearchwa1ts000000000002"
WHY = "Guided backpropagation is not defined for networks with the module GELU (features.2)."
FAILURE = "CUDA ran out of memory at batch size 1 (asked for 2.0 GiB, 0.4 GiB free)."


@dataclass(frozen=True)
class Plan:
    """One made-up layer and how much of it has pictures."""

    name: str
    kind: str
    units: int
    shape: tuple[int, ...]
    window: int
    recipes: tuple[Recipe, ...]
    seeds: int
    labelled: bool = False


LAYERS = (
    Plan("features.0", "conv", 64, (64, 29, 29), 7, DEFAULT_RECIPES, 3),
    Plan("features.3.squeeze", "conv", 96, (96, 14, 14), 27, DEFAULT_RECIPES, 2),
    Plan("features.6.expand3x3", "conv", 256, (256, 7, 7), 47, DEFAULT_RECIPES, 1),
    Plan("classifier.1", "linear", 4096, (4096,), INPUT, (FOURIER,), 1),
    Plan("classifier.4", "linear", len(LABELS), (len(LABELS),), INPUT, DEFAULT_RECIPES, 3, labelled=True),
)
UNPICTURED = Plan("classifier.6", "norm", 16, (16,), INPUT, (), 0)


def draw(rng: np.random.Generator, side: int, waves: int) -> np.ndarray:
    """A picture of `waves` coloured plane waves under a soft disc, uint8 (side, side, 3)."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    field = np.zeros((side, side, 3))
    for k in range(waves):
        angle, frequency, phase = rng.uniform(0, np.pi), rng.uniform(1.5, 3 + 2 * k), rng.uniform(0, 2 * np.pi)
        warp = rng.normal(0, 0.6) * (x * x + y * y)
        wave = np.sin(np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle) + warp) + phase)
        field += wave[..., None] * rng.normal(0, 1, 3) / (1 + 0.4 * k)
    field *= np.exp(-(x * x + y * y) * rng.uniform(0.2, 1.4))[..., None]
    return np.clip(127 + 80 * field / (field.std() + 1e-6) / 1.6, 0, 255).astype(np.uint8)


def encode(pixels: np.ndarray, form: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **({"quality": 80} if form == "WEBP" else {}))
    return out.getvalue()


def sheet(pictures: list[np.ndarray]) -> bytes:
    """A sprite sheet as `core.specs` describes it."""
    rows = -(-len(pictures) // SHEET_COLUMNS)
    canvas = np.zeros((rows * THUMBNAIL_PIXELS, SHEET_COLUMNS * THUMBNAIL_PIXELS, 3), np.uint8)
    for index, pixels in enumerate(pictures):
        top, left = (THUMBNAIL_PIXELS * n for n in divmod(index, SHEET_COLUMNS))
        tile = Image.fromarray(pixels).resize((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.BICUBIC)
        canvas[top : top + THUMBNAIL_PIXELS, left : left + THUMBNAIL_PIXELS] = np.asarray(tile)
    return encode(canvas, "WEBP")


def seed_gallery(settings: Settings) -> None:
    """Fill the database and the store that `settings` name.

    One network with pictures (`squeezenet1_0`), one that is only known (`alexnet`), one atlas that is done,
    one that runs, and one that ended with failures.
    """
    settings.home_path.mkdir(parents=True, exist_ok=True)
    upgrade(settings.resolved_database_url)
    engine = make_engine(settings.resolved_database_url)
    store = open_store(settings.resolved_store_url)
    with make_sessions(engine).begin() as session:
        network = add_networks(session)
        for recipe in DEFAULT_RECIPES:
            spec = recipe.model_dump(mode="json")
            session.add(models.Recipe(hash=recipe.content_hash(), name=recipe.name, title=recipe.title, spec=spec))
        layers = [add_layer(session, network, plan, order) for order, plan in enumerate((*LAYERS, UNPICTURED))]
        for plan, layer in zip(LAYERS, layers, strict=False):
            session.execute(insert(models.Picture), list(pictures_of(store, plan, layer.id)))
        add_atlases(session, network, layers)
        set_id = answers.add_set(session, store)
        made = answers.add_pass(session, store, network, layers, set_id, lowest=True, undefined=WHY)
        add_searches(session, store, made.pass_id, layers)
        add_workers(session)
    engine.dispose()


def add_networks(session: Session) -> models.Network:
    for name in ("alexnet", "squeezenet1_0"):
        source = NetworkSource(name=name, kind="torchvision", builder=name).model_dump(mode="json")
        session.add(models.Network(name=name, source=source, state=models.NetworkState.REGISTERED))
    session.flush()
    network = session.query(models.Network).filter_by(name="squeezenet1_0").one()
    network.state = models.NetworkState.DESCRIBED
    network.described_at = datetime.now(UTC)
    network.weights_hash = WEIGHTS_HASH
    network.input_shape, network.parameters = [3, INPUT, INPUT], 1_248_424
    network.mean, network.std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    network.labels = list(LABELS)
    return network


def add_layer(session: Session, network: models.Network, plan: Plan, order: int) -> models.Layer:
    corner = (INPUT - plan.window) // 2
    full = plan.window == INPUT
    window = Window(top=corner, left=corner, height=plan.window, width=plan.window, position=(0, 0), full=full)
    info = LayerInfo(
        name=plan.name, kind=plan.kind, order=order, units=plan.units, output_shape=plan.shape, unit_axis=0,
        read_at=plan.name, window=window, labelled=plan.labelled, default=bool(plan.recipes),
    )  # fmt: skip
    layer = models.Layer(
        network_id=network.id, name=plan.name, kind=plan.kind, order=order, units=plan.units,
        labelled=plan.labelled, default=info.default, info=info.model_dump(mode="json"),
    )  # fmt: skip
    session.add(layer)
    session.flush()
    return layer


def pictures_of(store: PictureStore, plan: Plan, layer_id: int) -> Iterator[dict[str, Any]]:
    """Rows for every picture of a layer; a few drawings come again in a different order on every sheet."""
    rng = np.random.default_rng(layer_id)
    side = min(plan.window, INPUT)
    for recipe_number, recipe in enumerate(plan.recipes):
        for seed in range(plan.seeds):
            drawings = [draw(rng, side, 1 + recipe_number % 3 + layer_id) for _ in range(DRAWINGS)]
            blobs = [store.put(encode(pixels, "PNG")) for pixels in drawings]
            for start in range(0, plan.units, SHEET_TILES):
                units = range(start, min(start + SHEET_TILES, plan.units))
                order = np.concatenate([rng.permutation(DRAWINGS) for _ in range(SHEET_TILES // DRAWINGS)])[
                    : len(units)
                ]
                key = store.put(sheet([drawings[n] for n in order]))
                for index, unit in enumerate(units):
                    row = picture_row(layer_id, recipe, unit, seed, side, rng)
                    empty = plan.labelled and (unit in DEAD_UNITS or unit == NON_FINITE_UNIT)
                    yield emptied(row, unit) if empty else filled(row, blobs[order[index]], key, index, rng)


def picture_row(
    layer_id: int, recipe: Recipe, unit: int, seed: int, side: int, rng: np.random.Generator
) -> dict[str, Any]:
    return {
        "layer_id": layer_id, "recipe_hash": recipe.content_hash(), "unit": unit, "seed": seed, "width": side,
        "height": side, "seconds": float(rng.uniform(0.2, 1.4)), "device": "CPU (2 threads)", "precision": "bfloat16",
        "library_version": "0.1.0", "created_at": datetime.now(UTC),
    }  # fmt: skip


def filled(row: dict[str, Any], blob: str, key: str, index: int, rng: np.random.Generator) -> dict[str, Any]:
    made = {"state": "ok", "blob": blob, "sheet": key, "sheet_index": index, "activation": float(rng.gamma(4, 6))}
    return {**row, **made, "best_step": int(rng.integers(60, 100)), "strongest_step": int(rng.integers(1, 40))}


def emptied(row: dict[str, Any], unit: int) -> dict[str, Any]:
    state = "non_finite" if unit == NON_FINITE_UNIT else "dead"
    nothing = dict.fromkeys(("blob", "sheet", "sheet_index", "activation", "best_step", "strongest_step"))
    return {**row, **nothing, "state": state}


def add_atlases(session: Session, network: models.Network, layers: list[models.Layer]) -> None:
    now = datetime.now(UTC)
    spec = AtlasSpec(network=network.name, recipes=DEFAULT_RECIPES, seeds=3).model_dump(mode="json")
    state = models.AtlasState
    states = (
        (DONE, state.COMPLETE, timedelta(hours=26), timedelta(hours=25)),
        (WITH_FAILURES, state.COMPLETE_WITH_FAILURES, timedelta(hours=3), timedelta(hours=2)),
        (LIVE, state.RUNNING, timedelta(minutes=4), None),
    )
    for atlas_id, state, ago, finished_ago in states:
        asked, finished = now - ago, now - finished_ago if finished_ago else None
        session.add(models.Atlas(
            id=atlas_id, network_id=network.id, spec=spec, state=state, created_at=asked,
            planned_at=asked + timedelta(seconds=3), finished_at=finished, images=0, priority="batch",
        ))  # fmt: skip
        session.flush()
        add_shards(session, atlas_id, layers, state, now)


def add_shards(
    session: Session, atlas_id: str, layers: list[models.Layer], state: models.AtlasState, now: datetime
) -> None:
    atlas = session.get_one(models.Atlas, atlas_id)
    for layer in layers[:3]:
        for number, start in enumerate(range(0, layer.units, 32)):
            shard = make_shard(atlas_id, layer, start, now)
            if state == models.AtlasState.COMPLETE_WITH_FAILURES and layer.order == 2 and number == 3:
                shard.state, shard.error, shard.attempts = models.ShardState.FAILED, FAILURE, 3
            if state == models.AtlasState.RUNNING and layer.order == 2:
                shard.finished_at, shard.seconds, shard.state = None, None, models.ShardState.PENDING
                if number == 0:
                    shard.state, shard.fraction = models.ShardState.RUNNING, 0.4
                    shard.lease_worker, shard.lease_token = "seed:1:1", "0" * 32
                    shard.lease_expires_at = now + timedelta(hours=1)
            atlas.images += shard.images
            session.add(shard)
    tallies.recount(session, atlas_id)


def make_shard(atlas_id: str, layer: models.Layer, start: int, now: datetime) -> models.Shard:
    units = list(range(start, min(start + 32, layer.units)))
    return models.Shard(
        atlas_id=atlas_id, layer_id=layer.id, recipe_hash=FOURIER.content_hash(), units=units, seeds=1,
        images=len(units), cost_seconds=20.0, state=models.ShardState.DONE, fraction=1.0, attempts=1,
        started_at=now - timedelta(seconds=90), finished_at=now - timedelta(seconds=30), seconds=18.0,
        lease_worker="seed:1:1",
    )  # fmt: skip


def add_searches(session: Session, store: PictureStore, pass_id: int, layers: list[models.Layer]) -> None:
    """A search by picture that is done, and one that waits."""
    key, now = store.put(answers.encode(answers.scenes()[3][0], "PNG")), datetime.now(UTC)
    excited = [[layer.id, 3 + 2 * layer.order, 12.0 - layer.order, 99.97 - layer.order, 4.2] for layer in layers]
    for search_id, state, result in ((SEARCH_DONE, "done", excited), (SEARCH_WAITS, "queued", [])):
        session.add(PictureSearch(
            id=search_id, pass_id=pass_id, owner="local", key=key, state=state, result=result, requested_at=now,
            created_at=now, finished_at=now if result else None,
        ))  # fmt: skip


def add_workers(session: Session) -> None:
    """One at work, one idle, one that said goodbye and one that fell silent."""
    now, hour = datetime.now(UTC), timedelta(hours=1)
    versions = {"deepvis": "0.1.0", "torch": "2.13.0", "celery": "5.7.0"}
    gpu, cpu = ("NVIDIA-H100-80GB-HBM3", "gpu"), ("cpu", "cpu")
    rows = (
        ("seed:1:1", "gpu-box-01", gpu, hour, None, (118_400, 3_720.0, 412, 2)),
        ("seed:2:2", "workstation", cpu, hour, None, (3_164, 9_800.0, 96, 0)),
        ("seed:3:3", "gpu-box-02", gpu, -hour / 3, now - hour / 3, (64_000, 2_100.0, 201, 0)),
        ("seed:4:4", "laptop", cpu, -hour / 4, None, (12, 40.0, 1, 3)),
    )
    for name, host, (device, kind), beat_in, stopped, (images, busy, done, failed) in rows:
        session.add(models.Worker(
            id=name, host=host, pid=int(name[-1]), device=device, device_kind=kind, queues="control,shards",
            versions=versions, activity="idle" if stopped is None else "stopped", images_done=images,
            busy_seconds=busy, shards_done=done, shards_failed=failed,
            started_at=now - 5 * hour, heartbeat_at=now + beat_in, stopped_at=stopped,
        ))  # fmt: skip


if __name__ == "__main__":
    seed_gallery(Settings(home=Path(sys.argv[1])))
