"""Archives of images, zip or tar, read member by member; nothing is ever unpacked to the disk."""

from collections.abc import Iterator
from pathlib import Path

from core.collection.items import Found, Skipped
from core.collection.names import common_folder
from core.collection.tars import is_tar, read_tar, tar_names
from core.collection.zips import is_zip, read_zip, zip_names
from core.errors import BadArchive, InvalidRequest

MOST_TIMES = 50
"""An archive that unpacks to more than so many times its size is a bomb, no collection of images ..."""
FEW_BYTES = 100_000_000
"""... unless it unpacks to less than this."""


def read_archive(path: Path, most_bytes: int, *, whole: bool = False) -> Iterator[Found | Skipped]:
    """Every file in an archive: of a zip by its path in order, of a tar as they come.

    The label is the first folder of the path; in a tar, what a WebDataset says of an image goes before.

    Args:
        path: a zip, or a tar, which may be compressed by gzip or bzip2.
        most_bytes: larger files are skipped unread.
        whole: it is all of a collection, so that a folder around everything is no label; else it may be a part.

    Raises:
        BadArchive: it is none of these, broken, or a bomb; what came before that was given.
    """
    try:
        with path.open("rb") as file:
            start = file.read(1024)
        most_total = max(FEW_BYTES, MOST_TIMES * path.stat().st_size)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    if is_zip(start):
        names, read = zip_names, read_zip
    elif is_tar(start):
        names, read = tar_names, read_tar
    else:
        raise BadArchive("The file is no zip, and no tar.", "Pack the images as .zip, .tar or .tar.gz.")
    around = common_folder(names(path, most_total)) if whole else ""
    yield from read(path, most_bytes, most_total, around)
