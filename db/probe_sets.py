"""Commands on probe sets: begun, filled in any number of steps, finished, deleted.

A set's row is locked by every command on it, so that whoever adds at the same moment leaves no gap between numbers.
What is added twice, as by a client that lost an answer, changes nothing.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session, sessionmaker

from core.collection import MAX_LABEL_CHARACTERS, Checked, Skipped
from core.errors import Conflict, InvalidRequest, OverQuota
from db import clock
from db.bulk import chunks, dialect_insert
from db.ids import ALPHABET, LENGTH, time_ordered
from db.probe_models import ProbeImage, ProbeSet, ProbeSetState, ProbeSkip
from db.queries.probe_sets import unknown

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MAX_LABELS = 10_000
MAX_ORIGIN_CHARACTERS = 300
CHUNK = 500
"""Most files that are added in one transaction."""
_LOOKS_LIKE_AN_ID = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")


@dataclass(frozen=True)
class SetLimits:
    """How much one set may be; 0: any."""

    most_images: int = 0
    most_bytes: int = 0


ANY_NUMBER = SetLimits()


@dataclass(frozen=True)
class Added:
    """What became of some files."""

    images: int = 0  # new in the set
    duplicates: int = 0  # the same bytes under another name
    skipped: int = 0
    repeated: int = 0  # known from before, with the same name

    def __add__(self, other: "Added") -> "Added":
        return Added(
            self.images + other.images,
            self.duplicates + other.duplicates,
            self.skipped + other.skipped,
            self.repeated + other.repeated,
        )


# --- begin and end ---------------------------------------------------------------


def begin(  # noqa: PLR0913  # a set's own columns, each by its name
    session: Session,
    name: str,
    *,
    owner: str,
    origin: str,
    labels: Sequence[str] | None = None,
    root: str | None = None,
) -> ProbeSet:
    """A new set, to be filled.

    Args:
        session: in a writing transaction.
        name: its name, which no other set has.
        owner: whose it is.
        origin: where the images come from, for people.
        labels: their names, in order, none if it is empty; None: as they come, from the images.
        root: the folder in which the images stay; None: they are put into the store.

    Raises:
        InvalidRequest: the name cannot be one, or the labels are too many or the same twice.
        Conflict: the name is taken.
    """
    _check_name(name)
    _check_labels(labels or ())
    moment = clock.now(session)
    row = {
        "id": time_ordered(moment), "name": name, "owner": owner, "origin": origin[:MAX_ORIGIN_CHARACTERS],
        "root": root, "labels": list(labels or ()), "labels_fixed": labels is not None, "created_at": moment,
    }  # fmt: skip
    made = dialect_insert(session, ProbeSet).values(row).on_conflict_do_nothing().returning(ProbeSet.id)
    if (set_id := session.scalar(made)) is None:
        raise Conflict(f"There is a probe set named {name!r} already.", "Choose another name, or delete that one.")
    return session.get_one(ProbeSet, set_id)


def finish(session: Session, set_id: str) -> ProbeSet:
    """Let the set be used; from now on it does not change. Nothing if it is ready.

    Raises:
        UnknownProbeSet: there is none.
        Conflict: it is deleted.
        InvalidRequest: there is no image in it.
    """
    found = lock(session, set_id)
    if found.state == ProbeSetState.READY:
        return found
    expect_filling(found)
    if found.images == 0:
        skipped = f" {found.skipped} files were skipped." if found.skipped else ""
        raise InvalidRequest(f"There is no image in the probe set {found.name!r}.{skipped}", "Add some first.")
    found.state, found.finished_at = ProbeSetState.READY, clock.now(session)
    return found


def delete(session: Session, set_id: str) -> ProbeSet:
    """Free the set's name; `db.forgetting` then deletes its rows, a few at a time. Nothing if it is deleted.

    Raises:
        UnknownProbeSet: there is none.
    """
    found = lock(session, set_id)
    if found.state != ProbeSetState.DELETED:
        found.state, found.name = ProbeSetState.DELETED, f"{found.name} {found.id}"
    return found


def lock(session: Session, set_id: str) -> ProbeSet:
    """The set as it is now, its row locked until the transaction ends.

    Raises:
        UnknownProbeSet: there is none of that id.
    """
    statement = select(ProbeSet).where(ProbeSet.id == set_id).with_for_update(key_share=True)
    found = session.scalar(statement.execution_options(populate_existing=True))
    if found is None:
        raise unknown(set_id)
    return found


# --- filling ---------------------------------------------------------------------


def fill(
    sessions: sessionmaker[Session], set_id: str, items: Iterable[Checked | Skipped], limits: SetLimits = ANY_NUMBER
) -> Iterator[Added]:
    """Add any number of files, `CHUNK` of them in a transaction; after each, what became of those. Raises as `add`."""
    for chunk in chunks(items, CHUNK):
        with sessions.begin() as session:
            added = add(session, set_id, chunk, limits)
        yield added


def add(session: Session, set_id: str, items: Sequence[Checked | Skipped], limits: SetLimits = ANY_NUMBER) -> Added:
    """Add images to the set, and files that were skipped; some hundreds of them.

    Raises:
        UnknownProbeSet: there is none.
        Conflict: it is ready, or deleted.
        OverQuota: it would be more than it may be; then nothing is added.
        InvalidRequest: there would be too many labels.
    """
    found = lock(session, set_id)
    expect_filling(found)
    chunk = _Chunk(found, _names(session, set_id, [item.key for item in items if isinstance(item, Checked)]))
    for item in items:
        chunk.take(item)
    _check_limits(found, chunk, limits)
    if chunk.unlabelled:
        session.execute(update(ProbeImage).where(ProbeImage.set_id == set_id).values(label=None))
        found.content_hash = _hash_without_labels(session, set_id)
    if chunk.images:
        session.execute(insert(ProbeImage), chunk.images)
    fresh = note_skips(session, [*chunk.skips, *chunk.duplicates])
    return _count(found, chunk, fresh)


class _Chunk:
    """What is to be added to a locked set, which is known to have `known` (names of images by key)."""

    def __init__(self, found: ProbeSet, known: dict[str, str]) -> None:
        self.labels = {name: index for index, name in enumerate(found.labels)}
        self.fixed = found.labels_fixed
        self.unlabelled = False  # it had labels, and one image has none
        self.images: list[dict[str, Any]] = []
        self.duplicates: list[dict[str, Any]] = []
        self.skips: list[dict[str, Any]] = []
        self.bytes = self.repeated = 0
        self._set, self._known = found, known

    def take(self, item: Checked | Skipped) -> None:
        """Give an image the next number, unless it is there."""
        if isinstance(item, Skipped):
            self.skips.append(self._skip(item.name, item.reason))
        elif item.key not in self._known:
            self._number(item)
        elif self._known[item.key] == item.name:
            self.repeated += 1
        else:
            self.duplicates.append(self._skip(item.name, f"It is the same as {self._known[item.key]}."))

    def _number(self, image: Checked) -> None:
        label = self._label(image.label)
        if label is None and self.fixed and self.labels and image.label is not None:
            self.skips.append(self._skip(image.name, f"Its label {image.label!r} is none of the set's."))
            return
        self._known[image.key] = image.name
        number = self._set.images + len(self.images)
        self.images.append({
            "set_id": self._set.id, "number": number, "key": image.key, "name": image.name, "label": label,
            "width": image.width, "height": image.height,
        })  # fmt: skip
        self.bytes += image.bytes

    def hashed_on(self, before: str | None) -> str | None:
        """The hash of the set's content with these images behind what was there."""
        names = list(self.labels)
        for image in self.images:
            before = _hashed(before, image["key"], None if image["label"] is None else names[image["label"]])
        return before

    def _label(self, name: str | None) -> int | None:
        """The index of a label. Where labels come with the images, all have one or none has."""
        if name is None:
            self._forget_labels()
            return None
        if not self.fixed:
            self._check_room(name)
            return self.labels.setdefault(name, len(self.labels))
        by_number = int(name) if name.isdecimal() and len(name) < 9 and int(name) < len(self.labels) else None
        return self.labels.get(name, by_number)

    def _forget_labels(self) -> None:
        if self.fixed:
            return
        self.unlabelled = bool(self.labels)
        self.labels, self.fixed = {}, True
        for image in self.images:
            image["label"] = None

    def _check_room(self, name: str) -> None:
        if name not in self.labels and len(self.labels) >= MAX_LABELS:
            detail = f"The probe set {self._set.name!r} would have more than {MAX_LABELS} labels."
            raise InvalidRequest(detail, "Give none, or fewer.")

    def _skip(self, name: str, reason: str) -> dict[str, Any]:
        return {"set_id": self._set.id, "name": name, "reason": reason}


def _hashed(before: str | None, key: str, label: str | None) -> str:
    """The hash of some images with one behind them."""
    return hashlib.sha256(json.dumps([before, key, label]).encode()).hexdigest()


def _hash_without_labels(session: Session, set_id: str) -> str | None:
    """The hash of the images that the set has; of so many, a part is in memory at a time."""
    keys = select(ProbeImage.key).where(ProbeImage.set_id == set_id).order_by(ProbeImage.number)
    found = None
    for key in session.scalars(keys.execution_options(yield_per=CHUNK)):
        found = _hashed(found, key, None)
    return found


def _names(session: Session, set_id: str, keys: Sequence[str]) -> dict[str, str]:
    """Names of those images that the set has, by key."""
    rows = select(ProbeImage.key, ProbeImage.name).where(ProbeImage.set_id == set_id, ProbeImage.key.in_(keys))
    return dict(session.execute(rows).all())


def note_skips(session: Session, rows: Sequence[dict[str, Any]]) -> set[str]:
    """Note files that are left out (rows of `ProbeSkip`); the names of those that were not noted before."""
    fresh: set[str] = set()
    for some in chunks(rows, CHUNK):
        statement = dialect_insert(session, ProbeSkip).values(some).on_conflict_do_nothing()
        fresh.update(session.scalars(statement.returning(ProbeSkip.name)))
    return fresh


def _count(found: ProbeSet, chunk: _Chunk, fresh: set[str]) -> Added:
    duplicates = len(fresh & {row["name"] for row in chunk.duplicates})
    added = Added(len(chunk.images), duplicates, len(fresh) - duplicates, chunk.repeated)
    found.images += added.images
    found.duplicates += added.duplicates
    found.skipped += added.skipped
    found.bytes += chunk.bytes
    found.content_hash = chunk.hashed_on(found.content_hash)
    found.labels, found.labels_fixed = list(chunk.labels), chunk.fixed
    return added


# --- checks ----------------------------------------------------------------------


def expect_filling(found: ProbeSet) -> None:
    """Refuse to add to a set that does not take any more.

    Raises:
        Conflict: it is ready, or deleted.
    """
    if found.state != ProbeSetState.FILLING:
        detail = f"The probe set {found.name!r} is {found.state}, and does not change any more."
        raise Conflict(detail, "Make another one.")


def _check_limits(found: ProbeSet, chunk: _Chunk, limits: SetLimits) -> None:
    for have, most, what, setting in (
        (found.images + len(chunk.images), limits.most_images, "images", "IMAGES"),
        (found.bytes + chunk.bytes, limits.most_bytes, "bytes", "BYTES"),
    ):
        if most and have > most:
            detail = f"The probe set {found.name!r} would have {have} {what}, and {most} may be."
            raise OverQuota(detail, f"Add fewer, or raise DEEPVIS_MAX_PROBE_SET_{setting}.")


def _check_name(name: str) -> None:
    if re.fullmatch(NAME, name) is None or _LOOKS_LIKE_AN_ID.fullmatch(name):
        remedy = "Use up to 64 letters, digits, dots, dashes and underscores, a letter or digit first."
        raise InvalidRequest(f"{name!r} cannot be the name of a probe set.", remedy)


def _check_labels(labels: Sequence[str]) -> None:
    if len(labels) > MAX_LABELS:
        raise InvalidRequest(f"There are {len(labels)} labels.", f"At most {MAX_LABELS} may be.")
    if twice := [label for label, count in Counter(labels).items() if count > 1]:
        raise InvalidRequest(f"The label {twice[0]!r} is there twice.", "Give each once.")
    if wrong := [label for label in labels if not 0 < len(label) <= MAX_LABEL_CHARACTERS]:
        raise InvalidRequest(f"{wrong[0][:20]!r} cannot be a label.", f"Use 1 to {MAX_LABEL_CHARACTERS} characters.")
