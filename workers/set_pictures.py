"""Pictures of a probe set by their numbers, as the network takes them; those used lately are kept."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from core.errors import BadPicture, ProbeSetChanged
from core.uploads import limits_of
from db.bulk import chunks
from db.queries import probe_sets
from deepvis.inputs import read_input
from deepvis.pictures import Pixels
from store.originals import Originals
from workers.runtime import Runtime

KEPT = 512
AT_ONCE = 500


class SetPictures:
    """Reads pictures of one set.

    Args:
        runtime: whose store and database hold them.
        set_id: of the set.
        input_shape: (C, H, W) of the network.

    Raises:
        UnknownProbeSet: the set was deleted.
    """

    def __init__(self, runtime: Runtime, set_id: str, input_shape: tuple[int, int, int]) -> None:
        self._runtime = runtime
        self._set_id = set_id
        self._input_shape = input_shape
        self._limits = limits_of(runtime.settings)
        with runtime.ledger.sessions() as session:
            found = probe_sets.get_set(session, set_id)
            root = probe_sets.get_root(session, set_id)
            self._originals = Originals(found.name, runtime.store, root, self._limits.most_bytes)
        self._kept: OrderedDict[int, Pixels | None] = OrderedDict()
        self.sizes: dict[int, tuple[int, int]] = {}  # (width, height) of every whole picture that was read

    def read(self, numbers: Sequence[int], fill: Sequence[float]) -> Pixels:
        """(N, H, W, C); one that can no longer be read is all of the colour `fill` (C,), 0..1.

        Raises:
            UnknownProbeSet: the set was deleted.
            StoreUnavailable: the store or the set's folder is not there just now.
        """
        self._fetch(sorted(set(numbers) - set(self._kept)))
        blank = np.empty((*self._input_shape[1:], self._input_shape[0]), np.uint8)
        blank[:] = np.round(255 * np.array(fill)).astype(np.uint8)
        found = [self._kept[number] for number in numbers]
        for number in dict.fromkeys(numbers):
            self._kept.move_to_end(number)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return np.stack([blank if pixels is None else pixels for pixels in found])

    def _fetch(self, numbers: Sequence[int]) -> None:
        with ThreadPoolExecutor(max(2, self._runtime.engines.threads), "pictures") as threads:
            for some in chunks(numbers, AT_ONCE):
                with self._runtime.ledger.sessions() as session:
                    images = probe_sets.get_images(session, self._set_id, some)
                self._kept.update((number, None) for number in some if number not in images)
                self.sizes.update((number, (image.width, image.height)) for number, image in images.items())
                reads = [self._reading(image.key, image.name) for image in images.values()]
                self._kept.update(zip(images, threads.map(lambda read: read(), reads), strict=True))

    def _reading(self, key: str, name: str) -> Callable[[], Pixels | None]:
        def read() -> Pixels | None:
            try:
                return read_input(self._originals.read(key, name), self._input_shape, self._limits)
            except (BadPicture, ProbeSetChanged):
                return None

        return read
