"""A probe set of drawn scenes and a network's answers to it, as rows and pictures: no worker has to run.

Sixteen made-up units answer to the images in sixteen ways; a layer of more units repeats them, a little stronger or
weaker each time, so that thousands of units cost sixteen times the pictures.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from sqlalchemy.orm import Session

from core.specs import SHEET_COLUMNS, SHEET_TILES, THUMBNAIL_PIXELS, AtlasSpec, BackwardKind, LayerInfo, ProbeWish, Side
from db.models import Atlas, AtlasState, Layer, Network
from db.probe_models import (
    PassState,
    ProbeImage,
    ProbePass,
    ProbeSet,
    ProbeSetState,
    TopImage,
    UnitAnswers,
    UnitLabel,
    UnitView,
)
from deepvis.networks.demo.scenes import make_scenes
from deepvis.networks.demo.things import THINGS
from store import PictureStore

LABELS = tuple(name.replace("_", " ") for name in THINGS)[:10]
IMAGES = 40
WAYS = 16
TOP = 9
DEAD = 13
"""The way of a unit that answers to nothing."""
BINS = 32
SET = "drawn-scenes"

Answers = NDArray[np.float64]


@dataclass(frozen=True)
class Seeded:
    """What was put into the database."""

    pass_id: int
    set_id: str


# --- images and answers ------------------------------------------------------------------------


@cache
def scenes() -> tuple[tuple[Image.Image, int], ...]:
    """Images of several shapes with the number of their label."""
    pictures, labels = make_scenes(60, 7)
    chosen = [(Image.fromarray(p), int(n)) for p, n in zip(pictures, labels, strict=True) if n < len(LABELS)][:IMAGES]
    return tuple((_shaped(image, place), label) for place, (image, label) in enumerate(chosen))


def _shaped(image: Image.Image, place: int) -> Image.Image:
    """Larger, and some of them wide or tall."""
    size = ((128, 128), (160, 120), (120, 160))[place % 3]
    return ImageOps.fit(image, size, Image.Resampling.BICUBIC)


def answers_of(layer: int, way: int) -> Answers:
    """How a way of answering answers to every image, (IMAGES,): most to one label, here and there to another."""
    rng = np.random.default_rng([layer, way])
    if way == DEAD:
        return np.zeros(IMAGES)
    labels = np.array([label for _, label in scenes()])
    answers = rng.gamma(1.2, 0.8, IMAGES) - 0.6
    answers += (labels == way % len(LABELS)) * rng.gamma(6, 0.8, IMAGES) * (0.3 + way % 4)
    return np.maximum(answers, 0.0 if way % 5 else -1.0)


def histogram(answers: Answers) -> list[list[float]]:
    """[from, to, count] of the bins that are not empty."""
    counts, edges = np.histogram(answers, bins=BINS)
    return [[float(a), float(b), int(n)] for a, b, n in zip(edges, edges[1:], counts, strict=False) if n]


# --- pictures ------------------------------------------------------------------------------------


def encode(image: Image.Image, form: str) -> bytes:
    """The file of a picture."""
    out = io.BytesIO()
    image.save(out, form, **({"quality": 85, "method": 0} if form == "WEBP" else {}))
    return out.getvalue()


def in_a_row(tiles: Sequence[Image.Image]) -> Image.Image:
    """Tiles of one size side by side."""
    width, height = tiles[0].size
    row = Image.new("RGB", (width * len(tiles), height))
    for place, tile in enumerate(tiles):
        row.paste(tile, (place * width, 0))
    return row


def box_of(image: Image.Image, layer: LayerInfo, place: int) -> list[float]:
    """[left, top, width, height] of a window's part of an image, somewhere in it."""
    side = layer.window.width / 64 * min(image.size)
    rng = np.random.default_rng(place)
    left, top = rng.uniform(-side / 4, image.width - 0.75 * side), rng.uniform(-side / 4, image.height - 0.75 * side)
    return [round(left, 1), round(top, 1), round(side, 1), round(side, 1)]


def crop(image: Image.Image, box: Sequence[float], side: int) -> Image.Image:
    """What lies in a box, grey where it leaves the image, `side` pixels square."""
    left, top, width, height = (round(n) for n in box)
    field = Image.new("RGB", (max(1, width), max(1, height)), (128, 128, 128))
    field.paste(image, (-left, -top))
    return field.resize((side, side), Image.Resampling.BICUBIC)


def traced(tile: Image.Image, kind: BackwardKind) -> Image.Image:
    """Something like a backward view of a crop."""
    edges = np.asarray(tile.filter(ImageFilter.EMBOSS), float) - 128
    strength = {BackwardKind.GRADIENT: 0.6, BackwardKind.GUIDED: 1.2, BackwardKind.DECONVOLUTION: 1.8}[kind]
    noise = np.random.default_rng(0).normal(0, 22 if kind == BackwardKind.GRADIENT else 3, edges.shape)
    return Image.fromarray(np.clip(128 + strength * edges + noise, 0, 255).astype(np.uint8))


def sheet(tiles: Sequence[Image.Image]) -> bytes:
    """A sprite sheet as `core.specs` describes it."""
    canvas = Image.new("RGB", (SHEET_COLUMNS * THUMBNAIL_PIXELS, -(-len(tiles) // SHEET_COLUMNS) * THUMBNAIL_PIXELS))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, SHEET_COLUMNS)
        thumbnail = tile.resize((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.BICUBIC)
        canvas.paste(thumbnail, (column * THUMBNAIL_PIXELS, row * THUMBNAIL_PIXELS))
    return encode(canvas, "WEBP")


# --- rows ------------------------------------------------------------------------------------------


def add_set(session: Session, store: PictureStore, name: str = SET) -> str:
    """A probe set of the scenes; its id."""
    set_id, now = f"{name[:8]:0<8}".replace("-", "0") + "0" * 18, datetime.now(UTC)
    session.add(ProbeSet(
        id=set_id, name=name, origin="drawn for tests", root=None, owner="local", state=ProbeSetState.READY,
        labels=list(LABELS), images=IMAGES, skipped=0, bytes=0, content_hash="c" * 64, created_at=now, finished_at=now,
    ))  # fmt: skip
    session.flush()
    for number, (image, label) in enumerate(scenes()):
        key = store.put(encode(image, "PNG"))
        name = f"{LABELS[label]}/scene {number:03d}.png"
        session.add(ProbeImage(
            set_id=set_id, number=number, key=key, name=name, label=label, width=image.width, height=image.height
        ))  # fmt: skip
    session.flush()
    return set_id


def add_pass(
    session: Session,
    store: PictureStore,
    network: Network,
    layers: Sequence[Layer],
    set_id: str,
    *,
    lowest: bool = False,
    undefined: str = "",
) -> Seeded:
    """A merged pass of the network over the set, with everything that came of it.

    Args:
        lowest: also the images that each unit answers to least.
        undefined: why guided backpropagation has no views, if it has none.
    """
    wish = ProbeWish(set=set_id, top=TOP, lowest=lowest)
    found = _pass(session, network, wish)
    for layer in layers:
        _Layer(store, found, layer, wish, undefined).write(session, layers)
    return Seeded(found.id, set_id)


def _pass(session: Session, network: Network, wish: ProbeWish) -> ProbePass:
    now = datetime.now(UTC)
    atlas_id = f"01jprobe{session.query(ProbePass).count():018d}"
    spec = AtlasSpec(network=network.name, probe=wish).model_dump(mode="json")
    session.add(Atlas(
        id=atlas_id, network_id=network.id, spec=spec, state=AtlasState.COMPLETE, images=IMAGES, priority="batch",
        created_at=now - timedelta(hours=5), planned_at=now - timedelta(hours=5), finished_at=now - timedelta(hours=4),
    ))  # fmt: skip
    session.flush()
    found = ProbePass(
        atlas_id=atlas_id, network_id=network.id, set_id=wish.set, spec=wish.model_dump(mode="json"), batch=16,
        state=PassState.MERGED, images=IMAGES, created_at=now, merged_at=now,
    )  # fmt: skip
    session.add(found)
    session.flush()
    return found


class _Layer:
    """The rows of one layer."""

    def __init__(self, store: PictureStore, found: ProbePass, layer: Layer, wish: ProbeWish, undefined: str) -> None:
        self.store, self.wish, self.undefined = store, wish, undefined
        self.key = {"pass_id": found.id, "layer_id": layer.id}
        self.layer, self.info = layer, LayerInfo.model_validate(layer.info)
        self.side = min(64, max(8, self.info.window.width))
        self.answers = [answers_of(layer.order, way) for way in range(WAYS)]
        self.views = [self._views(way) for way in range(min(WAYS, layer.units))]
        self.best: list[Image.Image] = [view[0] for view in self.views]

    def write(self, session: Session, layers: Sequence[Layer]) -> None:
        rows: dict[type[Any], list[dict[str, Any]]] = {UnitAnswers: [], UnitLabel: [], TopImage: [], UnitView: []}
        for unit in range(self.layer.units):
            answers = self.answers[unit % WAYS] * (1 + 0.01 * (unit // WAYS))
            rows[UnitAnswers].append(self._answers(unit, answers, layers))
            rows[UnitLabel] += self._labels(unit, answers)
            rows[TopImage] += self._images(unit, answers)
            rows[UnitView] += self._unit_views(unit)
        for table, some in rows.items():
            session.connection().execute(table.__table__.insert(), some)

    def _answers(self, unit: int, answers: Answers, layers: Sequence[Layer]) -> dict[str, Any]:
        rising = answers[answers > 0]
        dead = not len(rising)
        return {
            **self.key, "unit": unit, "mean": float(answers.mean()), "deviation": float(answers.std()),
            "lowest": float(answers.min()), "highest": float(answers.max()), "active": float((answers > 0).mean()),
            "sparseness": None if dead else float(1 - rising.mean() ** 2 / (rising**2).mean()),
            "selectivity": 0.0 if dead else float((unit % WAYS) / WAYS), "dead": dead, "histogram": histogram(answers),
            "similar": [] if dead else self._similar(unit, layers),
        }  # fmt: skip

    def _similar(self, unit: int, layers: Sequence[Layer]) -> list[list[float]]:
        """[layer id, unit, correlation] of other units, here and there."""
        every = [(layer.id, n) for layer in layers for n in range(min(layer.units, WAYS))]
        near = dict.fromkeys(every[(unit * 7 + 5 * n) % len(every)] for n in range(7))
        near.pop((self.layer.id, unit), None)
        return [[layer_id, n, round(0.98 - 0.07 * place, 3)] for place, (layer_id, n) in enumerate(near)][:6]

    def _labels(self, unit: int, answers: Answers) -> list[dict[str, Any]]:
        labels = np.array([label for _, label in scenes()])
        means = {label: float(answers[labels == label].mean()) for label in range(len(LABELS))}
        if not answers.std():
            return []
        best = sorted(means, key=lambda label: -means[label])[:5]
        mean, deviation = float(answers.mean()), float(answers.std())
        return [
            {**self.key, "unit": unit, "rank": rank, "label": label, "mean": means[label],
             "effect": (means[label] - mean) / deviation}
            for rank, label in enumerate(best)
        ]  # fmt: skip

    def _images(self, unit: int, answers: Answers) -> list[dict[str, Any]]:
        positions = int(np.prod(self.info.output_shape)) // self.layer.units
        return [
            {**self.key, "unit": unit, "side": side, "rank": rank, "image": int(image),
             "activation": float(answers[image]), "position": int(image) % positions if positions > 1 else -1}
            for side in self.wish.sides
            for rank, image in enumerate(_ordered(answers, side))
        ]  # fmt: skip

    def _views(self, way: int) -> tuple[Image.Image, dict[tuple[str, str], str], dict[str, list[list[float]]]]:
        """The best crop; keys of the pictures by (side, kind); boxes by side."""
        keys, boxes, first = {}, {}, None
        for side in self.wish.sides:
            order = [scenes()[n][0] for n in _ordered(self.answers[way], side)]
            boxes[side.value] = [box_of(image, self.info, n + way) for n, image in enumerate(order)]
            if self.info.window.full:
                boxes[side.value] = [[0, 0, image.width, image.height] for image in order]
            tiles = [crop(image, box, self.side) for image, box in zip(order, boxes[side.value], strict=True)]
            first = first or tiles[0]
            keys[side.value, "crop"] = self.store.put(encode(in_a_row(tiles), "WEBP"))
            for kind in BackwardKind:
                keys[side.value, kind.value] = self.store.put(
                    encode(in_a_row([traced(t, kind) for t in tiles]), "WEBP")
                )
        assert first is not None
        return first, keys, boxes

    def _unit_views(self, unit: int) -> list[dict[str, Any]]:
        _, keys, boxes = self.views[unit % WAYS]
        start = unit // SHEET_TILES * SHEET_TILES
        units = range(start, min(start + SHEET_TILES, self.layer.units))
        best = self._sheet(tuple(n % WAYS for n in units))
        return [
            {**self.key, "unit": unit, "side": side, "kind": kind, "columns": TOP, "count": TOP,
             "width": self.side, "height": self.side,
             **({"blob": None, "why": self.undefined} if self._lacks(kind) else {"blob": blob, "why": None}),
             "boxes": boxes[side] if kind == "crop" else [],
             "sheet": best if (side, kind) == ("top", "crop") else None,
             "sheet_index": unit - start if (side, kind) == ("top", "crop") else None}
            for (side, kind), blob in keys.items()
        ]  # fmt: skip

    @cache  # noqa: B019  # it lives as long as one layer is written
    def _sheet(self, ways: tuple[int, ...]) -> str:
        return self.store.put(sheet([self.best[way] for way in ways]))

    def _lacks(self, kind: str) -> bool:
        return bool(self.undefined) and kind == BackwardKind.GUIDED


def _ordered(answers: Answers, side: Side) -> NDArray[np.int64]:
    """The images at one end, the outermost first; ties by number."""
    return np.argsort(-answers if side == Side.TOP else answers, kind="stable")[:TOP]
