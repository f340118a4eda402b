"""The log files of child processes: opened, kept small, shown in short."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import click

LARGEST_BYTES = 10 * 1024 * 1024
_NOTEWORTHY = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b")
_LINE_CHARACTERS = 240


def open_log(path: Path) -> BinaryIO:
    """Open a log file for appending; one over the size limit is put aside first (one old file is kept)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LARGEST_BYTES:
        path.replace(path.with_suffix(".log.old"))
    return path.open("ab")


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines of a log."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - count * 400))
        return file.read().decode(errors="replace").splitlines()[-count:]


def readable(line: str) -> str:
    """A line for people: of JSON (DEEPVIS_LOG_FORMAT=json) its time, level and message; any other as it is."""
    with suppress(ValueError, KeyError, TypeError):
        said = json.loads(line)
        return f"{said['time']} {said['level']} {said['message']}"
    return line


class LogTail:
    """Shows what is appended to a log after `start` bytes: `warnings` (and errors), `everything`, or nothing."""

    def __init__(self, name: str, path: Path, start: int, *, warnings: bool, everything: bool) -> None:
        self._name = name
        self._path = path
        self._position = start
        self._warnings = warnings
        self._everything = everything

    def show(self) -> None:
        """Print the news, each line with the name of its process."""
        for line in self._new_lines():
            if self._everything or (self._warnings and _NOTEWORTHY.search(line)):
                click.echo(f"{self._name:<6} | {readable(line)[:_LINE_CHARACTERS]}", err=True)

    def _new_lines(self) -> list[str]:
        with self._path.open("rb") as file:
            file.seek(self._position)
            whole = file.read().rpartition(b"\n")[0]
        self._position += len(whole) + 1 if whole else 0
        return whole.decode(errors="replace").splitlines()
