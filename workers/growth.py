"""Preferred pictures that viewers watch as they grow: made beside the frames, one unit at a time.

Imports torch: use it in the child only.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from core.recipes import FOURIER
from core.specs import LayerInfo
from deepvis.engine import Engine
from deepvis.pictures import Pixels, encode_png
from workers.reasons import first_line

log = logging.getLogger(__name__)

Key = tuple[str, str, int]
"""Weights, layer, unit."""
KEPT = 32
UNWATCHED_SECONDS = 3.0
"""An ascent that nobody asks for any more ends."""
PICTURE_SECONDS = 0.1
"""Between two pictures of an ascent, at least."""


class _Unwatched(Exception):  # it is a wish, not an error
    """Nobody looks."""


@dataclass
class Growing:
    """A picture on its way."""

    step: int = 0
    steps: int = FOURIER.steps
    done: bool = False
    trouble: str = ""
    png: bytes = b""
    asked: float = field(default_factory=time.monotonic)
    shown: float = 0.0


class Growth:
    """All that grow on this worker; one at a time, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._growing: OrderedDict[Key, Growing] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, "growth")
        self._lock = threading.Lock()
        self._engine: Engine | None = None  # of its own: an ascent leaves its hook in the module while it runs

    def look(self, engine: Engine, layer: LayerInfo, unit: int) -> Growing:
        """How far the unit's picture is; it is begun if it was not."""
        key = (engine.network.weights_hash, layer.name, unit)
        with self._lock:
            growing = self._growing.get(key)
            if growing is None:
                growing = self._growing[key] = Growing()
                self._thread.submit(self._grow, key, growing, engine, layer)
            self._growing.move_to_end(key)
            while len(self._growing) > KEPT:
                self._growing.popitem(last=False)
        growing.asked = time.monotonic()
        return growing

    def close(self) -> None:
        """End what grows."""
        with self._lock:
            for growing in self._growing.values():
                growing.asked = 0.0
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _grow(self, key: Key, growing: Growing, engine: Engine, layer: LayerInfo) -> None:
        def on_picture(step: int, picture: Callable[[], Pixels]) -> None:
            growing.step, now = step, time.monotonic()
            if now - growing.asked > UNWATCHED_SECONDS:
                raise _Unwatched
            if now - growing.shown > PICTURE_SECONDS:
                growing.png, growing.shown = encode_png(picture()), now

        try:
            made = self._own(engine).grow(layer, FOURIER, key[2], on_picture)
            growing.png = growing.png if made.pixels is None else encode_png(made.pixels)
            growing.step, growing.done = growing.steps, True
        except _Unwatched:
            with self._lock:
                self._growing.pop(key, None)
        except Exception as error:  # a network's own code may raise anything; the viewers are told
            log.exception("%s:%d cannot be grown", layer.name, key[2])
            growing.trouble, growing.done = first_line(error), True

    def _own(self, engine: Engine) -> Engine:
        if self._engine is None or self._engine.network is not engine.network:
            self._engine = Engine(engine.network, device=str(engine.device), precision=engine.precision)
        return self._engine
