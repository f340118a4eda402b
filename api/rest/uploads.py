"""Files that somebody sends: onto the disk first, whatever their size, and gone when the request is answered."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

PIECE_BYTES = 1_048_576


@contextmanager
def on_disk(stream: IO[bytes]) -> Iterator[Path]:
    """The rest of `stream` as a file, until the end of the block."""
    with NamedTemporaryFile(prefix="deepvis-upload-") as file:
        shutil.copyfileobj(stream, file, PIECE_BYTES)
        file.flush()
        yield Path(file.name)
