"""The images of a range of a probe set, one after the other, for whoever puts them through a network. No torch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from db.queries import probe_sets as queries
from db.session import Sessions
from store import PictureStore
from store.originals import Originals


@dataclass(frozen=True)
class ProbeFile:
    """An image of a set; nothing of it is read before `read` is called."""

    number: int
    label: int | None  # index into the set's labels
    name: str  # path within the collection
    read: Callable[[], bytes]  # its file as it came; raises ProbeSetChanged, StoreUnavailable


def probe_files(
    sessions: Sessions, store: PictureStore, set_id: str, numbers: range, most_bytes: int
) -> Iterator[ProbeFile]:
    """The images of those numbers (without gaps) of a set, in order; about a thousand rows are in memory at a time.

    Files of more than `most_bytes` in the folder of an in-place set are not read.

    Raises:
        UnknownProbeSet: the set is deleted, before or meanwhile.
    """
    with sessions() as session:
        found = queries.get_set(session, set_id)
        originals = Originals(found.name, store, queries.get_root(session, set_id), most_bytes)
    for image in queries.iterate_images(sessions, set_id, numbers.start, numbers.stop - 1):
        yield ProbeFile(image.number, image.label_index, image.name, partial(originals.read, image.key, image.name))
