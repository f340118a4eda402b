"""What the pages say of probe sets."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from api.gallery import addresses
from api.gallery.words import bytes_words, count, plural
from api.rest.probe_sets import image_links
from db.probe_models import ProbeSetState
from db.queries.probe_sets import ProbeImageView, ProbeSetItem, ProbeSetView, count_by_label

STATES = {"filling": ("Being filled", "live"), "ready": ("Ready", "good")}
"""Set state -> (words, CSS class)."""
MOST_LABELS = 200
"""Labels that a set's page shows."""
MOST_KEPT = 100
"""Sets whose counts are kept in memory."""


@dataclass(frozen=True)
class SetRow:
    """A probe set in a list."""

    name: str
    address: str
    state: tuple[str, str]
    facts: list[str]


@dataclass(frozen=True)
class LabelChoice:
    """A label that the images can be narrowed to."""

    name: str
    images: int | None  # None: not counted
    address: str
    chosen: bool


@dataclass(frozen=True)
class Shot:
    """An image in the grid."""

    thumbnail: str
    file: str
    words: str  # for those who do not see it
    caption: str


def set_row(found: ProbeSetItem) -> SetRow:
    """A set as the list shows it."""
    labels = plural(found.label_count, "label") if found.label_count else "no labels"
    facts = [plural(found.images, "image"), labels, size_words(found), *left_out(found), f"from {found.origin}"]
    return SetRow(found.name, addresses.probe_set(found.name), STATES[found.state], facts)


def size_words(found: ProbeSetItem) -> str:
    """How large it is, and where it lies."""
    where = ", in the folder where they were found" if found.in_place else ""
    return bytes_words(found.bytes) + where


def left_out(found: ProbeSetItem) -> list[str]:
    """How many files are not in it."""
    skipped = [f"{plural(found.skipped, 'file')} skipped"] if found.skipped else []
    return skipped + ([plural(found.duplicates, "duplicate")] if found.duplicates else [])


def label_choices(found: ProbeSetView, counts: Sequence[int] | None, chosen: int | None) -> list[LabelChoice]:
    """One choice for all images of a set, then its first labels, with the chosen one if that is none of them."""
    every = LabelChoice("All", found.images, addresses.probe_set(found.name), chosen is None)
    shown = list(range(min(len(found.labels), MOST_LABELS)))
    if chosen is not None and MOST_LABELS <= chosen < len(found.labels):
        shown.append(chosen)
    return [every, *(_choice(found, index, counts[index] if counts else None, chosen == index) for index in shown)]


def _choice(found: ProbeSetView, index: int, images: int | None, chosen: bool) -> LabelChoice:
    return LabelChoice(found.labels[index], images, addresses.probe_set(found.name, label=index), chosen)


def label_counts(session: Session, kept: dict[str, list[int]], found: ProbeSetView) -> list[int] | None:
    """How many images each label of a set has; None while it is being filled: to count millions takes a while.

    A set that is ready never changes, so its counts are put into `kept`, by its id.
    """
    if found.state != ProbeSetState.READY:
        return None
    if found.id not in kept:
        if len(kept) >= MOST_KEPT:
            kept.clear()
        kept[found.id] = [images for _, images in count_by_label(session, found.id)]
    return kept[found.id]


def shot(set_id: str, image: ProbeImageView) -> Shot:
    """An image in the grid."""
    links = image_links(set_id, image.number)
    said = f"{image.name}, {image.label}" if image.label else image.name
    return Shot(links["thumbnail"], links["file"], said, f"{count(image.number)} · {image.width} × {image.height}")
