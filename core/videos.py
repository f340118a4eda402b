"""Videos that somebody sends: looked at first, decoded frame after frame, never more than one in memory.

A file is opened as the one format that its first bytes say, from an open file and not by a name or address, and with
no decoder but the listed ones: nothing in it makes the reader open another file or connection (no playlists, no lists
of files, no references of QuickTime's). Animated pictures go the way of all pictures (`core.uploads`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image

from core.declared import check_declared
from core.errors import BadPicture, BadVideo
from core.picture_formats import format_of
from core.settings import Settings
from core.uploads import Limits, read_timed_frames

HEAD_BYTES = 32
SHORT_OF = 0.9
"""A video that ends before this part of the time that it says it lasts has lost its end."""
CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mjpeg", "theora")
_DECODERS = (*CODECS, "libvpx", "libvpx-vp9", "libdav1d")


@dataclass(frozen=True)
class Container:
    """A video file's format; `name` is libavformat's."""

    name: str
    title: str
    begins: Callable[[bytes], bool]
    suffixes: tuple[str, ...]
    media_types: tuple[str, ...]


CONTAINERS = (
    Container(
        "mov",
        "MP4 or QuickTime",
        lambda head: head[4:8] in {b"ftyp", b"moov", b"wide", b"mdat"},
        (".mp4", ".m4v", ".mov", ".qt", ".3gp"),
        ("video/mp4", "video/quicktime", "video/x-m4v", "video/3gpp"),
    ),
    Container(
        "matroska",
        "WebM or Matroska",
        lambda head: head.startswith(b"\x1a\x45\xdf\xa3"),
        (".webm", ".mkv"),
        ("video/webm", "video/x-matroska", "video/matroska"),
    ),
    Container(
        "avi",
        "AVI",
        lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ",
        (".avi",),
        ("video/x-msvideo", "video/avi", "video/vnd.avi", "video/msvideo"),
    ),
    Container("ogg", "Ogg", lambda head: head.startswith(b"OggS"), (".ogv", ".ogg"), ("video/ogg", "application/ogg")),
)
NAMES = "MP4, QuickTime, WebM, Matroska, AVI, Ogg, or an animated GIF, PNG or WebP"


@dataclass(frozen=True)
class VideoLimits:
    """How much a video from outside may be."""

    most_bytes: int
    most_pixels: int  # of one frame
    most_frames: int
    most_seconds: float
    pictures: Limits  # of an animated picture


def video_limits_of(settings: Settings) -> VideoLimits:
    """The limits that the settings give."""
    most_frames = settings.max_video_frames
    animated = Limits(settings.max_picture_bytes, settings.max_video_pixels * most_frames, most_frames)
    return VideoLimits(
        settings.max_video_bytes,
        settings.max_video_pixels,
        most_frames,
        settings.max_video_seconds,
        animated.of_frames(settings.max_video_pixels),
    )


@dataclass(frozen=True)
class VideoFacts:
    """What a video is, by its head and its first frame."""

    format: str  # for people, like "VP9 in WebM or Matroska"
    width: int
    height: int
    frames: int | None  # as the file says; None: it does not
    seconds: float | None  # as the file says; None: it does not


@dataclass(frozen=True)
class Frame:
    """One picture of a video, upright."""

    image: Image.Image
    seconds: float  # since the first one


class Video:
    """A video that is open for reading, once; from `open_video`."""

    def __init__(self, facts: VideoFacts, frames: Iterator[Frame]) -> None:
        self.facts = facts
        self.ended = ""  # where and why it could not be read on; empty: it was read whole, or not yet
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        """Its frames. What breaks after the first one ends the iteration, and `ended` says it.

        Raises:
            BadVideo: there is none at all.
        """
        number, at = 0, 0.0
        try:
            for frame in self._frames:
                yield frame
                number, at = number + 1, frame.seconds
        except (BadVideo, BadPicture) as error:
            if not number:
                raise
            self.ended = f"After frame {number} ({at:.2f} s): {error.detail}"
            return
        if not number:
            raise BadVideo("The video has no frames.", "Check that the file is whole.")
        said = self.facts.seconds
        if said is not None and at < SHORT_OF * said - 1.0:
            self.ended = f"After frame {number} ({at:.2f} s) the file ends, and it says that it lasts {said:.2f} s."


@contextmanager
def open_video(file: BinaryIO, limits: VideoLimits, *, filename: str = "", media_type: str = "") -> Iterator[Video]:
    """The video, or animated picture, in `file`, which can be read from anywhere.

    Args:
        filename: what the sender calls it; its suffix, if it has one, must be the format's.
        media_type: what the sender says it is; empty or application/octet-stream says nothing.

    Raises:
        BadVideo: it is none of a known format, broken, over a limit, without pictures, or not what it is said to be.
        BadPicture: it is a picture, and a bad one.
    """
    size = file.seek(0, 2)
    if size > limits.most_bytes:
        raise BadVideo(f"The video has {size} bytes.", f"At most {limits.most_bytes} are accepted.")
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if format_of(head) is not None:
        yield _animation(file, limits, filename, media_type)
        return
    kind = _container(head)
    check_declared(kind.title, kind, filename, media_type, BadVideo)
    with _guarded(), _open(file, kind) as container:
        stream = _stream(container)
        facts = _facts(container, stream, kind)
        _check(facts, limits)
        yield Video(facts, _decode(container, stream, limits))


def probe(file: BinaryIO, limits: VideoLimits, *, filename: str = "", media_type: str = "") -> VideoFacts:
    """What the video is, with its first frame decoded; raises as `open_video` does."""
    with open_video(file, limits, filename=filename, media_type=media_type) as video:
        next(iter(video))
        return video.facts


# --- animated pictures --------------------------------------------------------------------


def _animation(file: BinaryIO, limits: VideoLimits, filename: str, media_type: str) -> Video:
    data = file.read(limits.pictures.most_bytes + 1)
    frames, counted = read_timed_frames(data, limits.pictures, filename=filename, media_type=media_type)
    if counted == 1:
        raise BadVideo("The file is a picture that does not move.", "Ask for its activations instead.")
    width, height = Image.open(file).size
    return Video(VideoFacts("animated picture", width, height, counted, None), _timed(frames))


def _timed(frames: Iterator[tuple[Image.Image, float]]) -> Iterator[Frame]:
    at = 0.0
    for image, seconds in frames:
        yield Frame(image, at)
        at += seconds


# --- what a video is, and how much ----------------------------------------------------------


def _container(head: bytes) -> Container:
    kind = next((each for each in CONTAINERS if each.begins(head)), None)
    if kind is None:
        raise BadVideo("The file is no video of a known format.", f"Use {NAMES}.")
    return kind


def _open(file: BinaryIO, kind: Container) -> InputContainer:
    allowed = {"codec_whitelist": ",".join(_DECODERS), "format_whitelist": _whitelisted(kind), "protocol_whitelist": ""}
    return av.open(file, "r", format=kind.name, options=allowed, metadata_errors="ignore")


def _whitelisted(kind: Container) -> str:
    """The format's full name, which may list several."""
    return av.format.ContainerFormat(kind.name, "r").name


def _stream(container: InputContainer) -> VideoStream:
    pictures = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not pictures:
        what = "only sound" if container.streams.audio else "no pictures"
        raise BadVideo(f"The file holds {what}.", "Send one with a video track.")
    name = pictures[0].codec_context.codec.canonical_name if pictures[0].codec_context else "unknown"
    if name not in CODECS:
        raise BadVideo(f"The video is coded as {name!r}.", f"Use one of {', '.join(CODECS)}.")
    return pictures[0]


def _facts(container: InputContainer, stream: VideoStream, kind: Container) -> VideoFacts:
    codec = stream.codec_context
    seconds = container.duration / av.time_base if container.duration and container.duration > 0 else None
    name = f"{codec.codec.canonical_name.upper()} in {kind.title}"
    return VideoFacts(name, codec.width, codec.height, stream.frames or None, seconds)


def _check(facts: VideoFacts, limits: VideoLimits) -> None:
    if facts.width * facts.height > limits.most_pixels:
        detail = f"The video has {facts.width} x {facts.height} pixels."
        raise BadVideo(detail, f"At most {limits.most_pixels} pixels a frame are accepted; scale it down.")
    if (facts.frames or 0) > limits.most_frames:
        raise BadVideo(f"The video has {facts.frames} frames.", f"At most {limits.most_frames} are accepted.")
    if (facts.seconds or 0) > limits.most_seconds:
        raise BadVideo(f"The video lasts {facts.seconds:.0f} s.", f"At most {limits.most_seconds:g} s are accepted.")


# --- decoding ---------------------------------------------------------------------------------


def _decode(container: InputContainer, stream: VideoStream, limits: VideoLimits) -> Iterator[Frame]:
    codec = stream.codec_context
    codec.options = {"max_pixels": str(limits.most_pixels)}  # also where a frame is larger than the head says
    codec.thread_count = 2
    start: float | None = None
    with _guarded():
        for number, frame in enumerate(container.decode(stream)):
            at = frame.time if frame.time is not None else number / 25
            start = at if start is None else start
            if number >= limits.most_frames or at - start > limits.most_seconds:
                most = f"{limits.most_frames} frames and {limits.most_seconds:g} s are accepted"
                raise BadVideo("The video goes on.", f"At most {most}.")
            yield Frame(_upright(frame), at - start)


def _upright(frame: av.VideoFrame) -> Image.Image:
    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    turned = round(frame.rotation / 90) * 90 % 360  # by how much the camera was turned, counterclockwise
    return image.rotate(turned, expand=True) if turned else image


@contextmanager
def _guarded() -> Iterator[None]:
    try:
        yield
    except (BadVideo, BadPicture):
        raise
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        raise BadVideo(f"The video cannot be decoded: {_reason(error)}.", "Check that the file is whole.") from error


def _reason(error: Exception) -> str:
    told: Any = getattr(error, "strerror", None) or str(error)
    with suppress(IndexError):
        return str(told).splitlines()[0].rstrip(".")
    return type(error).__name__
