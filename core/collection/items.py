"""What a collection is made of: files that may be images, and those that cannot be."""

from dataclasses import dataclass

MAX_NAME_CHARACTERS = 500
MAX_LABEL_CHARACTERS = 200
MAX_REASON_CHARACTERS = 500


@dataclass(frozen=True)
class Found:
    """A file that may be an image, read whole."""

    name: str  # path within the collection, with slashes
    label: str | None
    data: bytes


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """An image that can be decoded."""

    name: str
    label: str | None
    key: str  # SHA-256 of the file as it came
    bytes: int
    width: int  # upright
    height: int
