"""The tables of the dataset-centric view: probe sets, and what a network's units answer to in them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.models import Base, Layer, Network


class ProbeSetState(StrEnum):
    FILLING = "filling"  # images are being added; it cannot be used yet
    READY = "ready"  # complete, and never changed again
    DELETED = "deleted"  # its images are being forgotten, or are; its name is free


class PassState(StrEnum):
    RUNNING = "running"  # images go through the network, or wait for it
    MERGED = "merged"  # every unit's answers are known; crops and backward views follow


class SearchState(StrEnum):
    QUEUED = "queued"  # no worker has taken it up yet
    DONE = "done"  # `result` says which units the picture excites
    FAILED = "failed"  # `error` says why


class ProbeSet(Base):
    """A named collection of images. Once it is ready, `content_hash` says exactly which."""

    __tablename__ = "probe_sets"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)  # of a deleted one: with its id behind it
    origin: Mapped[str] = mapped_column(String(300))  # where the images come from, for people
    root: Mapped[str | None] = mapped_column(String(1000))  # the folder they stay in; None: they are in the store
    owner: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(12), default=ProbeSetState.FILLING, index=True)
    labels: Mapped[list[Any]] = mapped_column(default=list)  # names; empty where the images have none
    labels_fixed: Mapped[bool] = mapped_column(default=False)  # settled beforehand; else each new one is added
    images: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    duplicates: Mapped[int] = mapped_column(default=0)  # images that came again and were left out
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    content_hash: Mapped[str | None] = mapped_column(String(64))  # of every image's key and label name, in order so far
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class ProbeImage(Base):
    """One image of a set; `number` counts from 0 without gaps, in the order in which they were added."""

    __tablename__ = "probe_images"
    __table_args__ = (
        UniqueConstraint("set_id", "key"),
        Index(None, "key"),
        Index(None, "set_id", "label", "number"),
    )

    set_id: Mapped[str] = mapped_column(ForeignKey("probe_sets.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(64))  # SHA-256 of the file as it came
    name: Mapped[str] = mapped_column(String(500))  # path within the collection
    label: Mapped[int | None]  # index into the set's labels
    width: Mapped[int]
    height: Mapped[int]


class ProbeSkip(Base):
    """A file that did not become an image of its set, or an image that a pass could not read."""

    __tablename__ = "probe_skips"
    __table_args__ = (UniqueConstraint("set_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    set_id: Mapped[str] = mapped_column(ForeignKey("probe_sets.id"))
    name: Mapped[str] = mapped_column(String(500))
    reason: Mapped[str] = mapped_column(Text)


class ProbePass(Base):
    """One network's pass over one probe set: the dataset-centric half of an atlas."""

    __tablename__ = "probe_passes"
    __table_args__ = (Index(None, "network_id", "state", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    atlas_id: Mapped[str] = mapped_column(ForeignKey("atlases.id"), unique=True)
    network_id: Mapped[int] = mapped_column(ForeignKey("networks.id"))
    set_id: Mapped[str] = mapped_column(ForeignKey("probe_sets.id"), index=True)
    spec: Mapped[dict[str, Any]]  # core.specs.ProbeWish
    batch: Mapped[int]  # images in a batch: ranges begin at multiples of it
    partial: Mapped[bool] = mapped_column(default=False)  # it is over some layers, or makes views of some units, only
    state: Mapped[str] = mapped_column(String(12), default=PassState.RUNNING)
    images: Mapped[int] = mapped_column(default=0)  # that were looked at; those skipped are not among them
    created_at: Mapped[datetime]
    merged_at: Mapped[datetime | None]

    network: Mapped[Network] = relationship()
    set: Mapped[ProbeSet] = relationship()


class PassPart(Base):
    """What the units of one layer answered to one range of images; deleted once all are put together."""

    __tablename__ = "pass_parts"

    pass_id: Mapped[int] = mapped_column(ForeignKey("probe_passes.id"), primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"), primary_key=True)
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last: Mapped[int]  # inclusive
    blob: Mapped[str] = mapped_column(String(64), index=True)  # in the store: dumped by `deepvis.tallies`


class PassLayer(Base):
    """Arrays of one layer's answers that only workers need: how a picture's answers compare with the set's."""

    __tablename__ = "pass_layers"

    pass_id: Mapped[int] = mapped_column(ForeignKey("probe_passes.id"), primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"), primary_key=True)
    blob: Mapped[str] = mapped_column(String(64), index=True)

    layer: Mapped[Layer] = relationship()


class UnitAnswers(Base):
    """How one unit answers to the images of a set. An answer is its highest activation over an image's positions."""

    __tablename__ = "unit_answers"

    pass_id: Mapped[int] = mapped_column(ForeignKey("probe_passes.id"), primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"), primary_key=True)
    unit: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    mean: Mapped[float]
    deviation: Mapped[float]
    lowest: Mapped[float]
    highest: Mapped[float]
    active: Mapped[float]  # share of the images with an answer above 0
    sparseness: Mapped[float | None]  # 0..1, of the answers above 0; None where there are none
    selectivity: Mapped[float | None]  # 0..1, for its best label; None without labels
    dead: Mapped[bool]
    histogram: Mapped[list[Any]]  # [from, to, count] of the bins that are not empty, ascending
    similar: Mapped[list[Any]] = mapped_column(default=list)  # [layer id, unit, correlation], the nearest first

    layer: Mapped[Layer] = relationship()


class UnitLabel(Base):
    """A label that a unit prefers, `rank` 0 the most."""

    __tablename__ = "unit_labels"
    __table_args__ = (Index(None, "pass_id", "label", "effect"),)

    pass_id: Mapped[int] = mapped_column(ForeignKey("probe_passes.id"), primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"), primary_key=True)
    unit: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rank: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[int]  # index into the set's labels
    mean: Mapped[float]  # of its answers to the label's images
    effect: Mapped[float]  # (that mean - the mean of all) / the deviation of all


class TopImage(Base):
    """An image that a unit answers to most (or least); `rank` 0 the most (or least)."""

    __tablename__ = "top_images"

    pass_id: Mapped[int] = mapped_column(ForeignKey("probe_passes.id"), primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"), primary_key=True)
    unit: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    side: Mapped[str] = mapped_column(String(8), primary_key=True)  # core.specs.Side
    rank: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    image: Mapped[int]  # number in the set
    activation: Mapped[float]
    position: Mapped[int]  # of the highest activation: an index into the layer's positions, row-major; -1: no positions


class UnitView(Base):
    """A unit's top images as one picture: its crops, or their backward views, in a row, by rank, all of one size."""

    __tablename__ = "unit_views"

    pass_id: Mapped[int] = mapped_column(ForeignKey("probe_passes.id"), primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"), primary_key=True)
    unit: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    side: Mapped[str] = mapped_column(String(8), primary_key=True)  # core.specs.Side
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)  # "crop", or a core.specs.BackwardKind
    blob: Mapped[str | None] = mapped_column(String(64), index=True)  # WebP in the store; None: `why`
    why: Mapped[str | None] = mapped_column(Text)  # there is none
    columns: Mapped[int]  # pictures in a row of it
    count: Mapped[int]  # pictures in it
    width: Mapped[int]  # of each, in pixels
    height: Mapped[int]
    boxes: Mapped[list[Any]] = mapped_column(default=list)  # of each crop: [left, top, width, height] of what it shows,
    # in pixels of its whole image (upright), which it may leave; empty for backward views, and where it is not known
    sheet: Mapped[str | None] = mapped_column(String(64), index=True)  # sprite sheet of the layer page: best crop
    sheet_index: Mapped[int | None]


class PictureSearch(Base):
    """Somebody's picture, and the units of a network that it excites, compared with their answers in a pass."""

    __tablename__ = "picture_searches"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    pass_id: Mapped[int] = mapped_column(ForeignKey("probe_passes.id"), index=True)
    owner: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(64), index=True)  # the clean picture in the store
    state: Mapped[str] = mapped_column(String(12), default=SearchState.QUEUED, index=True)
    error: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    requested_at: Mapped[datetime]  # when a message was last sent for it
    begun_at: Mapped[datetime | None]  # when a worker last took it up
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    result: Mapped[list[Any]] = mapped_column(default=list)  # of units: see db.searches.Excited

    probe: Mapped[ProbePass] = relationship()
