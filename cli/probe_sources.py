"""What `deepvis probe add` takes images from: a folder, archives, shards, or the bundled generated pictures."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.collection import Found, Skipped, read_archive, read_folder
from core.errors import InvalidRequest

DEMO, NO_LABELS = "demo", "none"
DEMO_IMAGES = 600
_SHARDS = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Source:
    """Where images come from."""

    origin: str  # in words
    items: Iterable[Found | Skipped]
    labels: list[str] | None = None  # known beforehand; None: they come with the images
    root: Path | None = None  # the folder, if it is one


def goes_on_with(labels: list[str] | None, there: Sequence[str], fixed: bool) -> bool:
    """Whether a set that was begun with the labels `there`, `fixed` or not, was begun with what is wished now.

    A set whose labels came with the images has none, and for good, once an image without one came.
    """
    if labels is None:
        return not (fixed and there)
    return fixed and list(there) == labels


def read_labels(text: str | None) -> list[str] | None:
    """The labels in the file `text`; none for the word "none"; None if nothing was said.

    Raises:
        InvalidRequest: it cannot be read.
    """
    if text is None or text == NO_LABELS:
        return None if text is None else []
    try:
        return [line.strip() for line in Path(text).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"The labels cannot be read from {text}: {error}.", "Give one a line, in UTF-8."
        ) from error


def open_source(paths: Sequence[str], most_bytes: int, labels: list[str] | None = None) -> Source:
    """The images at `paths`: one folder, one or several archives, a folder of shards, or the word "demo".

    Raises:
        InvalidRequest: there is no such file or folder, or they do not go together.
    """
    if list(paths) == [DEMO]:
        return _demo(labels)
    found = [Path(path) for path in paths]
    for path in found:
        if not path.exists():
            raise InvalidRequest(f"There is no file or folder {path}.", f"For the generated pictures, write {DEMO!r}.")
    if len(found) == 1 and found[0].is_dir():
        folder = found[0]
        found = _shards_in(folder)
        if not found:
            return Source(f"folder {folder.resolve().name}", read_folder(folder, most_bytes), labels, folder.resolve())
    if any(path.is_dir() for path in found):
        raise InvalidRequest("Several folders cannot be one probe set.", "Name the folder that holds them.")
    return Source(", ".join(path.name for path in found), _archives(found, most_bytes), labels)


def _shards_in(folder: Path) -> list[Path]:
    """The tar archives in a folder that has nothing else in it; none if it has."""
    shards = []
    for path in folder.iterdir():
        if not path.name.startswith("."):
            if not path.name.endswith(_SHARDS):
                return []
            shards.append(path)
    return sorted(shards)


def _archives(paths: Sequence[Path], most_bytes: int) -> Iterator[Found | Skipped]:
    for path in paths:
        before = f"{path.name}:" if len(paths) > 1 else ""
        for item in read_archive(path, most_bytes, whole=True):
            yield replace(item, name=before + item.name) if before else item


def _demo(labels: list[str] | None) -> Source:
    from deepvis.networks.demo import LABELS
    from deepvis.networks.demo.pictures import picture_files

    items = (Found(name, label, data) for name, label, data in picture_files(DEMO_IMAGES))
    return Source("generated pictures of the demo network", items, list(LABELS) if labels is None else labels)
