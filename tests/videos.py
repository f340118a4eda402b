"""Small videos and animated pictures, made for the tests."""

import io
import tempfile
from collections.abc import Iterator

import av
import numpy as np
from PIL import Image

from core.settings import Settings
from core.videos import VideoLimits, video_limits_of

LIMITS: VideoLimits = video_limits_of(Settings())


def pictures(count: int, width: int = 96, height: int = 64) -> Iterator[Image.Image]:
    """A bar that moves to the right, its colour slowly changing."""
    for number in range(count):
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[:, number * 3 % width :] = (200, number * 5 % 255, 40)
        yield Image.fromarray(pixels)


def video(
    frames: int = 12,
    *,
    container: str = "mp4",
    codec: str = "libx264",
    width: int = 96,
    height: int = 64,
    rate: int = 10,
    **options: str,
) -> bytes:
    """A video file; `options` are the codec's, or the container's where they are its own."""
    own = {name: options.pop(name) for name in ("movflags",) if name in options}
    with tempfile.NamedTemporaryFile() as there:
        with av.open(there.name, "w", format=container, options=own) as file:
            stream = file.add_stream(codec, rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            file.start_encoding()
            for picture in pictures(frames, width, height):
                file.mux(stream.encode(av.VideoFrame.from_image(picture)))
            file.mux(stream.encode(None))
        return there.read()


def sound() -> bytes:
    """A file of sound alone."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.rate = 48_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def animation(frames: int = 5, kind: str = "GIF", milliseconds: int = 80) -> bytes:
    """An animated picture."""
    first, *others = pictures(frames, 40, 30)
    buffer = io.BytesIO()
    first.save(buffer, kind, save_all=True, append_images=others, duration=milliseconds)
    return buffer.getvalue()


def picture(kind: str = "PNG", width: int = 80, height: int = 64) -> bytes:
    """A still picture."""
    buffer = io.BytesIO()
    next(pictures(1, width, height)).save(buffer, kind)
    return buffer.getvalue()
