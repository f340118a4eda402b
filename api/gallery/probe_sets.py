"""What the pages say of probe sets."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.gallery import addresses
from api.gallery.words import bytes_words, count, plural
from api.rest.probe_sets import image_links
from db.queries.probe_sets import ProbeImageView, ProbeSetItem

STATES = {"filling": ("Being filled", "live"), "ready": ("Ready", "good")}
"""Set state -> (words, CSS class)."""


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
    images: int
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


def label_choices(name: str, counts: Sequence[tuple[str, int]], chosen: int | None) -> list[LabelChoice]:
    """The labels of a set, and one choice for all of them."""
    every = LabelChoice("All", sum(images for _, images in counts), addresses.probe_set(name), chosen is None)
    return [
        every,
        *(
            LabelChoice(label, images, addresses.probe_set(name, label=index), chosen == index)
            for index, (label, images) in enumerate(counts)
        ),
    ]


def shot(set_id: str, image: ProbeImageView) -> Shot:
    """An image in the grid."""
    links = image_links(set_id, image.number)
    said = f"{image.name}, {image.label}" if image.label else image.name
    return Shot(links["thumbnail"], links["file"], said, f"{count(image.number)} · {image.width} × {image.height}")
