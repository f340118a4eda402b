"""What a file from outside is called and sent as, held against what it is."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Protocol

from core.errors import InvalidRequest

_NOTHING_SAID = {"", "application/octet-stream"}


class Kind(Protocol):
    """A format of files."""

    @property
    def suffixes(self) -> Sequence[str]:
        """Those that its files have, the usual one first."""
        ...

    @property
    def media_types(self) -> Sequence[str]:
        """Those that its files are sent as, the usual one first."""
        ...


def check_declared(title: str, kind: Kind, filename: str, media_type: str, error: type[InvalidRequest]) -> None:
    """Refuse a file that is not what it is called: whoever sees its name would take it for something else.

    Args:
        title: what it is, with an article.
        kind: the same, as found in its bytes.
        filename: what the sender calls it; one without a suffix says nothing.
        media_type: what the sender says it is; empty or application/octet-stream says nothing.
        error: what to raise.
    """
    suffix = PurePath(filename).suffix.lower()
    declared = media_type.partition(";")[0].strip().lower()
    if suffix and suffix not in kind.suffixes:
        raise error(f"The file is called {suffix} and is {title}.", f"Call it {kind.suffixes[0]}.")
    if declared not in {*_NOTHING_SAID, *kind.media_types}:
        raise error(f"The file is sent as {declared} and is {title}.", f"Send it as {kind.media_types[0]}.")
