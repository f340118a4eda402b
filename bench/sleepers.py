"""Workers whose computation is a sleep: everything of a worker but the computing, and no torch.

`python -m bench.sleepers COUNT FILE SPEED` forks them off one process, so that they share its memory. Each adds up in
FILE (doubles, one for each worker) for how long it has slept. They end with the process that started them. With a SPEED
of 20 an image takes a twentieth of what it is said to cost: what is not sleep shows sooner.
"""

import ctypes
import gc
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from core.settings import Settings, load_settings
from core.specs import DeviceKind, LayerInfo, NetworkInfo, NetworkSource, Recipe
from deepvis.preferred import PreferredPicture
from store import PictureStore
from workers import control, runtime, shards  # noqa: F401  # loaded once, before the forks, for all of them
from workers.engines import Engine, Engines
from workers.main import run

SECONDS_PER_IMAGE = 1.0
PICTURE_PIXELS = 32
_DOUBLE = struct.Struct("d")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class Sleeper:
    """An engine that sleeps for every image, then gives a picture of noise."""

    device_name = "sleep"
    precision = "none"

    def __init__(self, slept: Callable[[float], None], speed: float) -> None:
        self._slept = slept
        self._seconds = SECONDS_PER_IMAGE / speed

    def seconds_per_image_step(self, layer: LayerInfo) -> float:
        """With the one step that the bench asks for."""
        return SECONDS_PER_IMAGE

    def preferred_pictures(
        self,
        layer: LayerInfo,
        recipe: Recipe,
        addresses: Sequence[tuple[int, int]],
        *,
        batch_size: int = 0,
        on_progress: Callable[[float], None] | None = None,
    ) -> Iterator[PreferredPicture]:
        """One after the other, `SECONDS_PER_IMAGE` each at a speed of 1."""
        for number, (unit, seed) in enumerate(addresses, 1):
            start = time.monotonic()
            time.sleep(self._seconds)
            self._slept(time.monotonic() - start)
            if on_progress:
                on_progress(number / len(addresses))
            yield noise(layer.order, unit, seed)


def noise(*numbers: int) -> PreferredPicture:
    """A picture that is not like any other, of (layer order, unit, seed): a few patches of colour."""
    patches = np.random.default_rng(numbers).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    pixels = patches.repeat(PICTURE_PIXELS // 4, axis=0).repeat(PICTURE_PIXELS // 4, axis=1)
    return PreferredPicture(
        unit=numbers[-2],
        seed=numbers[-1],
        state="ok",
        pixels=pixels,
        height=PICTURE_PIXELS,
        width=PICTURE_PIXELS,
        activation=float(pixels.mean()),
        best_step=1,
        strongest_step=1,
        seconds=SECONDS_PER_IMAGE,
    )


class Sleepers:
    """The engines of a worker that sleeps."""

    kind = DeviceKind.CPU
    device_name = "sleep"
    threads = 1
    versions: Mapping[str, str] = {}  # nothing writes to it

    def __init__(self, slept: Callable[[float], None], speed: float) -> None:
        self._engine = Sleeper(slept, speed)

    def catalogue(self) -> Sequence[NetworkSource]:
        """None: the bench has described its network by itself."""
        return ()

    def engine(self, source: NetworkSource, weights_hash: str | None = None) -> Engine:
        """The same for all."""
        return cast(Engine, self._engine)  # pictures are all that is asked of it

    def describe(self, source: NetworkSource) -> NetworkInfo:
        """Not asked for: the network is described."""
        raise NotImplementedError

    def clear(self) -> None:
        """There is nothing to forget."""


def fork_all(count: int, file: Path, speed: float, settings: Settings) -> list[int]:
    """Start so many workers; their process ids."""
    with file.open("r+b") as opened:
        memory = mmap.mmap(opened.fileno(), count * _DOUBLE.size)
    gc.freeze()
    pids = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
            os._exit(run(settings, partial(_engines, memory, number, speed)))
        pids.append(pid)
        time.sleep(0.05)  # not all of them at the same moment
    return pids


def _engines(memory: mmap.mmap, number: int, speed: float, _settings: Settings, _store: PictureStore) -> Engines:
    def slept(seconds: float) -> None:
        before = _DOUBLE.unpack_from(memory, number * _DOUBLE.size)[0]
        _DOUBLE.pack_into(memory, number * _DOUBLE.size, before + seconds)

    return Sleepers(slept, speed)


def total_slept(file: Path) -> float:
    """Seconds that all of them have slept so far."""
    return float(np.fromfile(file, dtype=np.float64).sum())


def main(count: int, file: Path, speed: float) -> None:
    """Fork, and wait until told to stop.

    They stand for other machines: on this one, the database and the web server come first.
    """
    os.nice(10)
    pids = fork_all(count, file, speed, load_settings())
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
