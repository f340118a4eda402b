"""Collections of images from outside: folders, archives, WebDataset shards. Nothing of their size is held in memory.

    for item in checked(read_folder(path), limits_of(settings), keep=store.put):
        ...  # a Checked image, or a Skipped file with its reason

It stands in `core` because the command line reads folders and the API reads uploads. Needs Pillow, and nothing else.
"""

from core.collection.archives import read_archive
from core.collection.checking import checked
from core.collection.folders import read_folder
from core.collection.items import MAX_LABEL_CHARACTERS, MAX_NAME_CHARACTERS, Checked, Found, Skipped
from core.collection.packing import pack

__all__ = [
    "MAX_LABEL_CHARACTERS",
    "MAX_NAME_CHARACTERS",
    "Checked",
    "Found",
    "Skipped",
    "checked",
    "pack",
    "read_archive",
    "read_folder",
]
