"""The tables of activations: what one picture or one video does to a network."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.models import Base, Network


class JobState(StrEnum):
    QUEUED = "queued"  # no worker has taken it up, or the one that did is gone
    RUNNING = "running"  # a worker holds its lease
    DONE = "done"  # its files are stored; `result` describes them
    FAILED = "failed"  # given up; `error` says why
    CANCELLED = "cancelled"  # given up on request; nothing is kept of it but what was sent


class ActivationJob(Base):
    """A wish for the activations of one picture or video. `id` is time-ordered, so that it doubles as a cursor."""

    __tablename__ = "activation_jobs"
    __table_args__ = (Index(None, "owner", "state"), Index(None, "state", "requested_at"))

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    kind: Mapped[str] = mapped_column(String(12))  # core.activation_specs.ActivationKind
    network_id: Mapped[int] = mapped_column(ForeignKey("networks.id"), index=True)
    owner: Mapped[str] = mapped_column(String(64))
    spec: Mapped[dict[str, Any]]  # ActivationSpec
    filename: Mapped[str] = mapped_column(String(200))  # what the sender calls it, for people
    state: Mapped[str] = mapped_column(String(12), default=JobState.QUEUED)
    error: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_expires_at: Mapped[datetime | None]
    requested_at: Mapped[datetime]  # when a message was last sent for it
    done: Mapped[int] = mapped_column(default=0)  # layers or frames of the running attempt
    total: Mapped[int | None]  # of them; None: not known
    result: Mapped[dict[str, Any]] = mapped_column(default=dict)  # ActivationResult
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]  # the latest attempt
    finished_at: Mapped[datetime | None]

    network: Mapped[Network] = relationship()


class ActivationFile(Base):
    """A piece of a file of a job; the pieces in the order of `part` are the file."""

    __tablename__ = "activation_files"

    job_id: Mapped[str] = mapped_column(ForeignKey("activation_jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), primary_key=True)  # like "layer-3.png"; the input's is "input"
    part: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(64), index=True)  # in the store
    bytes: Mapped[int] = mapped_column(BigInteger)
