"""What `deepvis up` tells the other commands of the same home folder: where it listens, which broker it uses.

The note is the content of a locked file: the lock, which the system drops when the process ends however it ends,
says whether the note still holds.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pydantic import BaseModel, ValidationError

from core.errors import BadSetting, Conflict
from core.settings import Settings, load_settings

NOTE_NAME = "up.lock"


class Running(BaseModel):
    """A running `deepvis up`. The broker URL holds a password: the file is for its owner only."""

    pid: int
    url: str
    broker_url: str


def read_running(home: Path) -> Running | None:
    """The note of the `deepvis up` that runs on `home`, or None (also where it is not ours to read)."""
    try:
        file = (home / NOTE_NAME).open(encoding="utf-8")
    except OSError:
        return None
    with file:
        if _lock(file, fcntl.LOCK_SH):
            return None
        with contextlib.suppress(ValidationError):
            return Running.model_validate_json(file.read())
    return None


@contextlib.contextmanager
def claim(home: Path) -> Iterator[TextIO]:
    """Hold `home` as the one `deepvis up` that runs on it; write the note to what is yielded with `write_note`.

    Raises:
        Conflict: another one runs on it.
        BadSetting: it cannot be written to.
    """
    with _open_note(home) as file:
        if not _lock(file, fcntl.LOCK_EX):
            other = read_running(home)
            where = f" at {other.url} (process {other.pid})" if other else ""
            raise Conflict(f"deepvis already runs on {home}{where}.", "Stop it first, or set another DEEPVIS_HOME.")
        try:
            file.truncate(0)
            yield file
        finally:
            file.truncate(0)


def _open_note(home: Path) -> TextIO:
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(home / NOTE_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        remedy = "Set DEEPVIS_HOME to a folder that you may write to."
        raise BadSetting(f"The folder {home} cannot be used: {error.strerror}.", remedy) from error
    return os.fdopen(descriptor, "r+", encoding="utf-8")


def write_note(file: TextIO, note: Running) -> None:
    """Tell the other commands about us."""
    file.seek(0)
    file.truncate(0)
    file.write(note.model_dump_json())
    file.flush()


def connected_settings(**overrides: object) -> Settings:
    """Settings from the environment; where it names no API or broker, those of the `deepvis up` that runs here.

    Raises:
        BadSetting: a setting is wrong.
    """
    settings = load_settings(**overrides)
    running = read_running(settings.home_path)
    if running is None:
        return settings
    found = {"url": running.url, "broker_url": running.broker_url}
    missing = {name: value for name, value in found.items() if name not in settings.model_fields_set}
    return load_settings(**missing, **overrides)


def _lock(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
