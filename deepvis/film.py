"""A video that browsers play, written frame by frame: VP9 in WebM, which needs no licence and no plug-in."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from PIL import Image

_MILLISECOND = Fraction(1, 1000)
_OPTIONS = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "30", "b": "0"}
LAST_FRAME_SECONDS = 0.1


class Film:
    """Writes frames of one size to `path`; each is shown from its time until the next one's.

    Args:
        path: of the file, whose suffix should be .webm.
        size: (width, height) in pixels, both even.
        threads: of the encoder.
    """

    def __init__(self, path: Path, size: tuple[int, int], threads: int = 1) -> None:
        self.path = path
        self._container = av.open(str(path), "w", format="webm")
        self._stream = self._container.add_stream("libvpx-vp9", rate=25, options=_OPTIONS)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.thread_count = threads
        self._stream.codec_context.time_base = _MILLISECOND
        self._last = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def add(self, image: Image.Image, seconds: float) -> None:
        """Show the image (RGB) from that time on; times ascend, and what does not is shown a millisecond later."""
        self._last = max(self._last + 1, round(seconds * 1000))
        frame = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
        frame.pts, frame.time_base = self._last, _MILLISECOND
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is left: the file is whole now."""
        if self._last >= 0:
            self._container.mux(self._stream.encode(None))
        self._container.close()
