"""Names of files within a collection: which are none of it, and which lead out of it."""

from collections.abc import Iterable

from core.collection.items import MAX_LABEL_CHARACTERS, MAX_NAME_CHARACTERS, MAX_REASON_CHARACTERS
from core.picture_formats import FORMATS

_CLUTTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
IMAGE_SUFFIXES = frozenset(suffix for each in FORMATS for suffix in each.suffixes)


def is_clutter(name: str) -> bool:
    """Whether a path is hidden, or what a file manager leaves behind: nothing that anybody wanted to add."""
    parts = name.replace("\\", "/").split("/")
    return any(part in _CLUTTER or (part.startswith(".") and part not in {".", ".."}) for part in parts)


def is_called_an_image(name: str) -> bool:
    """Whether the name ends as those of the formats do that are taken."""
    return any(name.lower().endswith(suffix) for suffix in IMAGE_SUFFIXES)


def why_unusable(name: str) -> str:
    """Why a path cannot be the name of an image; empty if it can."""
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or name.startswith(("/", "\\")):
        return "Its name leads out of the collection."
    if not name.isprintable() or name.encode(errors="replace").decode() != name:
        return "Its name cannot be written: it holds control characters, or is not UTF-8."
    if len(name) > MAX_NAME_CHARACTERS:
        return f"Its name is longer than {MAX_NAME_CHARACTERS} characters."
    return ""


def tidy(name: str) -> str:
    """A usable path without `.` and empty parts, with slashes."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in {"", "."})


def common_folder(names: Iterable[str]) -> str:
    """The folder, with a slash, that every tidy path is in; empty if there is none. Reads no further than it must."""
    around = ""
    for name in names:
        folder, slash, _ = name.partition("/")
        around = around or folder + slash
        if not slash or folder + slash != around:
            return ""
    return around


def presentable(text: str, most: int = MAX_NAME_CHARACTERS) -> str:
    """Any text so that a database keeps it, JSON carries it and a page shows it; at most so many characters of it."""
    shown = text[:most].encode(errors="replace").decode()
    return "".join(c if c.isprintable() else "\ufffd" for c in shown)


def usable_label(text: str | None) -> str | None:
    """A label as somebody else wrote it, so that it can be one; None for none."""
    return presentable(text, MAX_LABEL_CHARACTERS) if text else None


def reason_of(text: str) -> str:
    """Why a file is left out, whoever says it, in one line that is not too long."""
    return presentable(text, MAX_REASON_CHARACTERS)


def folder_label(name: str) -> str | None:
    """The label that the first folder of a path gives; None for a file in no folder."""
    folder, slash, _ = name.partition("/")
    return folder[:MAX_LABEL_CHARACTERS] if slash else None
