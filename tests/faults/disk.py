"""A small disk, in memory, that a test may fill and make read-only. Only root may mount one."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = "64m"


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A file system of its own at `place`; a plain folder where it cannot be mounted."""
    place.mkdir()
    mounted = mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place))
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", place], check=True)


def mount(*arguments: str) -> bool:
    """Whether `mount` could do that."""
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0
