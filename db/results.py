"""What a worker has computed of a shard, as `db.leases.commit_shard` stores it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

from db.bulk import insert_missing
from db.models import Picture
from db.work import Lease, PreferredLease


class Result(Protocol):
    """The outcome of one shard."""

    @property
    def images(self) -> int:
        """Pictures made, or images looked at."""
        ...

    @property
    def seconds(self) -> float:
        """Computing time."""
        ...

    def check(self, lease: Lease) -> None:
        """Hold it against what the lease asks for.

        Raises:
            ValueError: something is missing.
        """
        ...

    def store(self, session: Session, lease: Lease, moment: datetime) -> None:
        """Write its rows; those that are there already stay as they are."""
        ...


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """One picture, as `db.models.Picture` keeps it; blob, sheet and sheet_index are None where there is no picture."""

    unit: int
    seed: int
    state: str  # PictureState
    blob: str | None
    sheet: str | None
    sheet_index: int | None
    width: int
    height: int
    activation: float | None
    best_step: int | None
    strongest_step: int | None
    seconds: float
    device: str
    precision: str
    library_version: str


@dataclass(frozen=True)
class Pictures:
    """The preferred pictures of a shard."""

    rows: Sequence[PictureRow]

    @property
    def images(self) -> int:
        return len(self.rows)

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)

    def check(self, lease: Lease) -> None:
        missing = set(_preferred(lease).addresses) - {(row.unit, row.seed) for row in self.rows}
        if missing:
            wanted = len(_preferred(lease).addresses)
            raise ValueError(f"expected {wanted} pictures, {len(missing)} are missing: {sorted(missing)[:3]}")

    def store(self, session: Session, lease: Lease, moment: datetime) -> None:
        insert_missing(session, Picture, _picture_rows(_preferred(lease), self.rows, moment))


def _preferred(lease: Lease) -> PreferredLease:
    if not isinstance(lease, PreferredLease):
        raise TypeError(f"shard {lease.shard_id} is not one of preferred pictures")
    return lease


def _picture_rows(lease: PreferredLease, rows: Sequence[PictureRow], moment: datetime) -> list[dict[str, Any]]:
    """Rows in the order of their unique key, so that two atlases that store the same ones do not deadlock."""
    shared = {
        "layer_id": lease.layer_id,
        "recipe_hash": lease.recipe_hash,
        "shard_id": lease.shard_id,
        "created_at": moment,
    }
    return [{**vars(row), **shared} for row in sorted(rows, key=lambda row: (row.seed, row.unit))]
