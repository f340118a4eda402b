"""The tables. Times are UTC by the database's clock; JSON columns hold dumps of the specifications in `core.specs`."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

MAX_ERROR_CHARACTERS = 4000
"""What is kept of an error's text, in every column `error`."""


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware UTC datetime on every database (SQLite keeps no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012  # SQLAlchemy's own idiom


class NetworkState(StrEnum):
    REGISTERED = "registered"  # its name is known; no worker has looked at it yet
    DESCRIBING = "describing"  # a worker has been asked to find its layers
    DESCRIBED = "described"  # its layers are known
    FAILED = "failed"  # it cannot be built or traced; `error` says why; describing it again may succeed


class AtlasState(StrEnum):
    QUEUED = "queued"  # wished for; no worker has planned it yet
    PLANNING = "planning"  # a worker is cutting it into shards
    RUNNING = "running"  # its shards are being computed
    COMPLETE = "complete"  # every shard is done
    COMPLETE_WITH_FAILURES = "complete_with_failures"  # every shard is done or failed, at least one failed
    CANCELLED = "cancelled"  # given up on request; what was done is kept
    FAILED = "failed"  # planning failed; `error` says why


class ShardState(StrEnum):
    PENDING = "pending"  # waits to be leased (with or without a message in the broker)
    RUNNING = "running"  # leased by a worker
    DONE = "done"  # every picture is stored
    FAILED = "failed"  # given up after too many attempts; `error` says why
    CANCELLED = "cancelled"  # its atlas was cancelled first


class PictureState(StrEnum):
    OK = "ok"  # there is a picture
    DEAD = "dead"  # the unit's gradient is exactly zero from every start: no picture
    NON_FINITE = "non_finite"  # the activation or its gradient became infinite or not a number: no picture


class Token(Base):
    """An API token: who may ask for what, and how much. The token itself is shown once and kept nowhere."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)  # also the owner of what is asked for with it
    hash: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256; a token is random, so no salt is needed
    scopes: Mapped[list[Any]]  # core.specs.Scope values
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # to the minute
    requests_per_minute: Mapped[int | None]  # None here and below: what the settings say
    max_open_atlases: Mapped[int | None]
    max_images_per_day: Mapped[int | None]


class Login(Base):
    """A browser that logged in with a token; its cookie's SHA-256."""

    __tablename__ = "logins"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("tokens.id"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Owner(Base):
    """Whoever asks for atlases: the row that is locked while their quotas are looked at."""

    __tablename__ = "owners"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)  # a token's name; "local" without tokens


class Share(Base):
    """What was done for an owner's atlases in one lane (`db.dispatch`): the owner served least there is next."""

    __tablename__ = "shares"

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    device_kind: Mapped[str] = mapped_column(String(8), primary_key=True)  # DeviceKind
    priority: Mapped[str] = mapped_column(String(12), primary_key=True)  # core.specs.Priority
    served: Mapped[float] = mapped_column(default=0.0)  # cost_seconds handed out


class Network(Base):
    """A network by name. A name means one set of weights for ever: `weights_hash` never changes once it is set."""

    __tablename__ = "networks"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    source: Mapped[dict[str, Any]]  # NetworkSource
    state: Mapped[str] = mapped_column(String(20), default=NetworkState.REGISTERED)
    error: Mapped[str | None] = mapped_column(Text)
    requested_at: Mapped[datetime | None]  # when its description was last asked for
    described_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)  # descriptions begun since it was last asked for anew
    weights_hash: Mapped[str | None] = mapped_column(String(64))
    input_shape: Mapped[list[Any] | None]  # (C, H, W)
    mean: Mapped[list[Any] | None]
    std: Mapped[list[Any] | None]
    labels: Mapped[list[Any] | None]
    parameters: Mapped[int | None] = mapped_column(BigInteger)

    layers: Mapped[list["Layer"]] = relationship(back_populates="network", order_by="Layer.order")


class Layer(Base):
    """One layer of a described network, in forward order."""

    __tablename__ = "layers"
    __table_args__ = (UniqueConstraint("network_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    network_id: Mapped[int] = mapped_column(ForeignKey("networks.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(20))
    order: Mapped[int]
    units: Mapped[int]
    labelled: Mapped[bool]
    default: Mapped[bool]
    info: Mapped[dict[str, Any]]  # LayerInfo

    network: Mapped[Network] = relationship(back_populates="layers")


class Recipe(Base):
    """A recipe that some atlas uses, by content hash."""

    __tablename__ = "recipes"

    hash: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    title: Mapped[str] = mapped_column(String(80))
    spec: Mapped[dict[str, Any]]  # core.specs.Recipe


class Atlas(Base):
    """A wish for pictures and its progress. `id` is time-ordered, so that it doubles as a stable cursor."""

    __tablename__ = "atlases"
    __table_args__ = (UniqueConstraint("owner", "idempotency_key"),)

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    network_id: Mapped[int] = mapped_column(ForeignKey("networks.id"), index=True)
    spec: Mapped[dict[str, Any]]  # AtlasSpec
    state: Mapped[str] = mapped_column(String(30), default=AtlasState.QUEUED, index=True)
    error: Mapped[str | None] = mapped_column(Text)
    owner: Mapped[str] = mapped_column(String(64), default="local", server_default="local", index=True)
    device_kind: Mapped[str] = mapped_column(String(8), default="any", server_default="any")  # DeviceKind
    priority: Mapped[str | None] = mapped_column(String(12))  # core.specs.Priority; None: its plan's size will decide
    weight: Mapped[float] = mapped_column(default=1.0)  # its share of the workers beside its owner's other atlases
    served: Mapped[float] = mapped_column(default=0.0)  # cost_seconds handed out / weight: the lowest is served next
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    plan_attempts: Mapped[int] = mapped_column(default=0)
    plan_token: Mapped[str | None] = mapped_column(String(32))  # of the latest planner; an older one is late
    plan_expires_at: Mapped[datetime | None]  # planning may be taken over after this
    created_at: Mapped[datetime]
    planned_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    images: Mapped[int] = mapped_column(default=0)  # that its shards make or look at; 0: not known before it is planned

    network: Mapped[Network] = relationship()


class Shard(Base):
    """The piece of work that one lease covers; `core.specs.ShardSpec` says what the columns mean for each kind."""

    __tablename__ = "shards"
    __table_args__ = (
        Index(None, "atlas_id", "state", "id"),
        Index(None, "state", "lease_expires_at"),
        Index(None, "state", "enqueued_at"),
        Index(None, "atlas_id", "finished_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    atlas_id: Mapped[str] = mapped_column(ForeignKey("atlases.id"))
    kind: Mapped[str] = mapped_column(String(12), default="preferred", server_default="preferred")  # ShardKind
    layer_id: Mapped[int | None] = mapped_column(ForeignKey("layers.id"))  # None where it is about all layers
    recipe_hash: Mapped[str | None] = mapped_column(ForeignKey("recipes.hash"))  # of preferred pictures
    units: Mapped[list[Any]]  # ascending
    seeds: Mapped[int]
    first: Mapped[int] = mapped_column(default=0, server_default="0")  # of a range of images; `last` is in it
    last: Mapped[int] = mapped_column(default=-1, server_default="-1")
    images: Mapped[int]  # pictures that it makes, or images that it looks at
    cost_seconds: Mapped[float]
    state: Mapped[str] = mapped_column(String(20), default=ShardState.PENDING)
    fraction: Mapped[float] = mapped_column(default=0.0)  # of the running attempt, by its last heartbeat
    attempts: Mapped[int] = mapped_column(default=0)
    setbacks: Mapped[int] = mapped_column(default=0, server_default="0")  # tries that did not count
    retry_at: Mapped[datetime | None]  # it waits until then; None: it does not
    error: Mapped[str | None] = mapped_column(Text)
    enqueued_at: Mapped[datetime | None]  # when a message was last sent for it
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_worker: Mapped[str | None] = mapped_column(String(120))
    lease_expires_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    seconds: Mapped[float | None]  # computing time of the attempt that finished it

    layer: Mapped[Layer | None] = relationship()
    recipe: Mapped[Recipe | None] = relationship()


class Tally(Base):
    """Sums over an atlas's shards, kept up by whoever changes them, so that progress costs the same for any size.

    `state` is "planned" (all of them), "done", "failed" or "cancelled"; what is left waits or runs.
    """

    __tablename__ = "tallies"

    atlas_id: Mapped[str] = mapped_column(ForeignKey("atlases.id"), primary_key=True)
    state: Mapped[str] = mapped_column(String(20), primary_key=True)
    shards: Mapped[int] = mapped_column(default=0)
    images: Mapped[int] = mapped_column(default=0)
    cost_seconds: Mapped[float] = mapped_column(default=0.0)  # as planned
    computed_cost_seconds: Mapped[float] = mapped_column(default=0.0)  # of those that were computed, not found done
    computed_seconds: Mapped[float] = mapped_column(default=0.0)  # what those took


class Chore(Base):
    """Something that one worker, any, does every so often; `due_at` says when somebody should again."""

    __tablename__ = "chores"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    due_at: Mapped[datetime]


class Picture(Base):
    """The result for one (layer, unit, recipe, seed), with its provenance; exists at most once.

    `blob` is the picture's SHA-256 in the store; `sheet` that of the sprite sheet that holds its thumbnail,
    at tile `sheet_index` (row-major). Both are empty for a dead or non-finite unit.
    """

    __tablename__ = "pictures"
    __table_args__ = (
        UniqueConstraint("layer_id", "recipe_hash", "seed", "unit"),
        Index(None, "layer_id", "recipe_hash", "seed", "activation"),
        Index(None, "layer_id", "unit"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    recipe_hash: Mapped[str] = mapped_column(ForeignKey("recipes.hash"))
    unit: Mapped[int]
    seed: Mapped[int]
    state: Mapped[str] = mapped_column(String(20))
    blob: Mapped[str | None] = mapped_column(String(64))
    sheet: Mapped[str | None] = mapped_column(String(64))
    sheet_index: Mapped[int | None]
    width: Mapped[int]
    height: Mapped[int]
    activation: Mapped[float | None]  # of the picture saved; None where there is none
    best_step: Mapped[int | None]
    strongest_step: Mapped[int | None]  # first step at which the unit was its layer's strongest
    seconds: Mapped[float]  # its share of the batch's computing time
    device: Mapped[str] = mapped_column(String(80))
    precision: Mapped[str] = mapped_column(String(10))
    library_version: Mapped[str] = mapped_column(String(40))
    shard_id: Mapped[int | None] = mapped_column(ForeignKey("shards.id"), index=True)  # that made it
    created_at: Mapped[datetime]

    layer: Mapped[Layer] = relationship()
    recipe: Mapped[Recipe] = relationship()


class Worker(Base):
    """A worker process, by its last heartbeat."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(120), primary_key=True)  # host:pid:random
    host: Mapped[str] = mapped_column(String(80))
    pid: Mapped[int]
    device: Mapped[str] = mapped_column(String(80))
    device_kind: Mapped[str] = mapped_column(String(8), default="cpu", server_default="cpu")  # DeviceKind
    queues: Mapped[str] = mapped_column(String(200))
    versions: Mapped[dict[str, Any]]
    activity: Mapped[str] = mapped_column(String(200), default="idle")  # what it is doing, for people
    shards_done: Mapped[int] = mapped_column(default=0, server_default="0")
    shards_failed: Mapped[int] = mapped_column(default=0, server_default="0")  # attempts, whosever fault
    images_done: Mapped[int] = mapped_column(default=0)
    busy_seconds: Mapped[float] = mapped_column(default=0.0)
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
