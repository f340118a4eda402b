"""Reads of probe sets: which there are, and their images, a part at a time however many there are."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from core.errors import NotFound, UnknownProbeSet, nearest
from db.probe_models import ProbeImage, ProbeSet, ProbeSetState, ProbeSkip
from db.queries.paging import View, cut, decode_cursor, encode_cursor

PART_IMAGES = 1000
"""So many rows are read at once of a range."""
MAX_NUMBER = 2**31 - 1


class ProbeSetItem(View):
    """A probe set in a list."""

    id: str
    name: str
    origin: str
    in_place: bool  # the images stay where they are, and only their hashes are kept
    owner: str
    state: ProbeSetState
    label_count: int
    images: int
    skipped: int
    duplicates: int
    bytes: int
    content_hash: str | None  # None until it is ready
    created_at: datetime
    finished_at: datetime | None


class ProbeSetPage(View):
    """A page of probe sets, newest first."""

    items: tuple[ProbeSetItem, ...]
    next_cursor: str | None


class ProbeSetView(ProbeSetItem):
    """A probe set with the names of its labels, in order."""

    labels: tuple[str, ...]


class ProbeImageView(View):
    """An image of a set."""

    number: int
    key: str  # SHA-256 of its file
    name: str
    label: str | None
    label_index: int | None  # its place among the set's labels
    width: int
    height: int


class ProbeImagePage(View):
    """A page of images, by number."""

    items: tuple[ProbeImageView, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class ImageFile:
    """What one needs to read the file of an image."""

    number: int
    set_name: str
    root: str | None  # the folder that it stays in; None: it is in the store
    key: str  # SHA-256 of the file
    name: str  # path within the collection


class ProbeSkipView(View):
    """A file that is not in the set, and why."""

    name: str
    reason: str


class ProbeSkipPage(View):
    """A page of skipped files, in the order in which they came."""

    items: tuple[ProbeSkipView, ...]
    next_cursor: str | None


# --- sets ------------------------------------------------------------------------


def list_sets(session: Session, *, name: str | None = None, limit: int = 50, cursor: str | None = None) -> ProbeSetPage:
    """The sets that are not deleted, newest first; with `name`, the one of that name.

    Raises:
        InvalidRequest: the cursor is not one of this list.
    """
    statement = select(ProbeSet).where(ProbeSet.state != ProbeSetState.DELETED)
    if name is not None:
        statement = statement.where(ProbeSet.name == name)
    if (after := decode_cursor(cursor, str)) is not None:
        statement = statement.where(ProbeSet.id < after[0])
    rows = session.scalars(statement.order_by(ProbeSet.id.desc()).limit(limit + 1)).all()
    page, following = cut(rows, limit, lambda row: encode_cursor(row.id))
    return ProbeSetPage(items=tuple(ProbeSetItem(**_item(row)) for row in page), next_cursor=following)


def get_set(session: Session, set_id: str) -> ProbeSetView:
    """The set of that id, unless it is deleted.

    Raises:
        UnknownProbeSet: there is none.
    """
    found = session.get(ProbeSet, set_id)
    if found is None or found.state == ProbeSetState.DELETED:
        raise unknown(set_id)
    return ProbeSetView(**_item(found), labels=tuple(found.labels))


def find_id(session: Session, word: str) -> str:
    """The id of the set of that id or name (none can be taken for the other), unless it is deleted.

    Raises:
        UnknownProbeSet: there is none; the remedy says the nearest names.
    """
    there = select(ProbeSet.id).where(ProbeSet.state != ProbeSetState.DELETED)
    found = session.scalar(there.where((ProbeSet.id == word) | (ProbeSet.name == word)))
    if found is None:
        names = select(ProbeSet.name).where(ProbeSet.state != ProbeSetState.DELETED).limit(1000)
        raise UnknownProbeSet(f"There is no probe set {word!r}.", nearest(word, session.scalars(names)))
    return found


def count_filling(session: Session) -> int:
    """How many sets are being filled with images that go into the store."""
    filling = ProbeSet.state == ProbeSetState.FILLING, ProbeSet.root.is_(None)
    return session.scalar(select(func.count()).select_from(ProbeSet).where(*filling)) or 0


def unknown(set_id: str) -> UnknownProbeSet:
    """The error for an id that no set has."""
    return UnknownProbeSet(f"There is no probe set {set_id!r}.", "See the list of probe sets.")


def count_by_label(session: Session, set_id: str) -> list[tuple[str, int]]:
    """The labels of a set, in order, and how many images each has; looks at every image. Raises as `get_set`."""
    labels = get_set(session, set_id).labels
    counted = select(ProbeImage.label, func.count()).where(ProbeImage.set_id == set_id).group_by(ProbeImage.label)
    counts = dict(session.execute(counted).all())
    return [(label, counts.get(index, 0)) for index, label in enumerate(labels)]


# --- images ----------------------------------------------------------------------


def list_images(
    session: Session, set_id: str, *, label: int | None = None, limit: int = 100, cursor: str | None = None
) -> ProbeImagePage:
    """The images of a set by number; with `label`, those of that label.

    Raises:
        UnknownProbeSet: there is no such set.
        InvalidRequest: the cursor is not one of this list.
    """
    labels = get_set(session, set_id).labels
    statement = select(ProbeImage).where(ProbeImage.set_id == set_id)
    if label is not None:
        statement = statement.where(ProbeImage.label == max(-1, min(label, MAX_NUMBER)))
    if (after := decode_cursor(cursor, int)) is not None:
        statement = statement.where(ProbeImage.number > min(after[0], MAX_NUMBER))
    rows = session.scalars(statement.order_by(ProbeImage.number).limit(limit + 1)).all()
    page, following = cut(rows, limit, lambda row: encode_cursor(row.number))
    return ProbeImagePage(items=tuple(_image(row, labels) for row in page), next_cursor=following)


def get_image(session: Session, set_id: str, number: int) -> ProbeImageView:
    """One image.

    Raises:
        UnknownProbeSet: there is no such set.
        NotFound: it has no image of that number.
    """
    found = get_images(session, set_id, [number])
    if not found:
        raise _no_image(number)
    return found[number]


def get_file(session: Session, set_id: str, number: int) -> ImageFile:
    """Where the file of one image is, in one statement. Raises as `get_image`.

    The root is a path of this installation's machines, as of `get_root`: not to be shown.
    """
    wanted = ProbeImage.set_id == set_id, ProbeImage.number == min(number, MAX_NUMBER)
    statement = select(ProbeSet.name, ProbeSet.root, ProbeImage.key, ProbeImage.name).join_from(ProbeImage, ProbeSet)
    found = session.execute(statement.where(*wanted, ProbeSet.state != ProbeSetState.DELETED)).one_or_none()
    if found is None:
        get_set(session, set_id)
        raise _no_image(number)
    return ImageFile(number, *found)


def _no_image(number: int) -> NotFound:
    return NotFound(f"The probe set has no image {number}.", "They are numbered from 0.")


def get_images(session: Session, set_id: str, numbers: Collection[int]) -> dict[int, ProbeImageView]:
    """Images by their numbers (some hundreds at most); those that are not there are left out.

    Raises:
        UnknownProbeSet: there is no such set.
    """
    labels = get_set(session, set_id).labels
    known = [number for number in numbers if 0 <= number <= MAX_NUMBER]
    statement = select(ProbeImage).where(ProbeImage.set_id == set_id, ProbeImage.number.in_(known))
    return {row.number: _image(row, labels) for row in session.scalars(statement)}


def iterate_images(sessions: sessionmaker[Session], set_id: str, first: int, last: int) -> Iterator[ProbeImageView]:
    """The images `first` to `last` (inclusive), by number, some in memory at a time and no transaction held open.

    Raises:
        UnknownProbeSet: there is no such set, or it was deleted meanwhile.
    """
    for begin in range(first, last + 1, PART_IMAGES):
        end = min(begin + PART_IMAGES - 1, last)
        with sessions() as session:
            labels = get_set(session, set_id).labels
            part = ProbeImage.number.between(begin, end)
            statement = select(ProbeImage).where(ProbeImage.set_id == set_id, part).order_by(ProbeImage.number)
            found = [_image(row, labels) for row in session.scalars(statement)]
        yield from found


def get_root(session: Session, set_id: str) -> str | None:
    """The folder in which the images of a set stay; None: they are in the picture store.

    It is a path of this installation's machines: for workers and for reading files, not to be shown.

    Raises:
        UnknownProbeSet: there is no such set.
    """
    found = session.get(ProbeSet, set_id)
    if found is None:
        raise unknown(set_id)
    return found.root


# --- skipped files ---------------------------------------------------------------


def list_skips(session: Session, set_id: str, *, limit: int = 100, cursor: str | None = None) -> ProbeSkipPage:
    """The files that were left out, duplicates among them, in the order in which they came.

    Raises:
        UnknownProbeSet: there is no such set.
        InvalidRequest: the cursor is not one of this list.
    """
    get_set(session, set_id)
    statement = select(ProbeSkip).where(ProbeSkip.set_id == set_id)
    if (after := decode_cursor(cursor, int)) is not None:
        statement = statement.where(ProbeSkip.id > min(after[0], MAX_NUMBER))
    rows = session.scalars(statement.order_by(ProbeSkip.id).limit(limit + 1)).all()
    page, following = cut(rows, limit, lambda row: encode_cursor(row.id))
    items = tuple(ProbeSkipView(name=row.name, reason=row.reason) for row in page)
    return ProbeSkipPage(items=items, next_cursor=following)


def _item(found: ProbeSet) -> dict[str, object]:
    copied = ("id", "name", "origin", "owner", "images", "skipped", "duplicates", "bytes", "created_at", "finished_at")
    ready = found.state == ProbeSetState.READY
    return {
        **{name: getattr(found, name) for name in copied},
        "in_place": found.root is not None,
        "state": ProbeSetState(found.state),
        "label_count": len(found.labels),
        "content_hash": found.content_hash if ready else None,
    }


def _image(row: ProbeImage, labels: tuple[str, ...]) -> ProbeImageView:
    return ProbeImageView(
        number=row.number,
        key=row.key,
        name=row.name,
        label=None if row.label is None else labels[row.label],
        label_index=row.label,
        width=row.width,
        height=row.height,
    )
