"""A small disk, in memory, that a test may fill and make read-only. Only root may mount one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services import wait_until

SIZE = "1g"
"""At most; it takes as much memory as there is on it."""


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


def make_full(place: Path) -> None:
    """Leave no room on the disk: its size becomes what is on it now."""

    def shrunk() -> bool:
        now = os.statvfs(place)
        return mount("-o", f"remount,size={(now.f_blocks - now.f_bfree) * now.f_frsize}", str(place))

    wait_until(shrunk, what="a full disk, while it is written to")


def make_read_only(place: Path) -> None:
    wait_until(lambda: mount("-o", "remount,ro", str(place)), what="a read-only disk, while it is written to")


def mend(place: Path) -> None:
    assert mount("-o", f"remount,rw,size={SIZE}", str(place))


def mount(*arguments: str) -> bool:
    """Whether `mount` could do that."""
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0
