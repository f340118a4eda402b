"""A recording: chosen layers' answers to every frame of a video, as a video beside the input and as numbers.

Frame after frame is decoded, put through the network, drawn, encoded and written to files in a folder of its own:
memory is the same for a hundred frames and for a hundred thousand. The files go to the store in parts at the end.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from core.activation_specs import ActivationResult, LayerView
from core.errors import TooLarge
from core.specs import LayerInfo
from core.videos import Frame, Video, open_video, video_limits_of
from db.activations import ActivationLease, Files, StoredPart
from deepvis.activations import as_input, shade, tile_grid
from deepvis.engine import Engine
from deepvis.film import Film
from deepvis.panels import Stage
from deepvis.pictures import Pixels
from deepvis.tensor_streams import TensorStream
from store.parts import Part, PartsFile, put_parts
from workers.activations import Progress
from workers.answers import GAMMA, ask, engine_of, for_people, likeliest, numbers
from workers.runtime import Runtime

BATCH_FRAMES = 4
"""That go through the network together."""
GRID_SIDE = 480
SHOWN_CLASSES = 3
VIDEO_FILE = "recording.webm"


def record(runtime: Runtime, lease: ActivationLease, progress: Progress) -> tuple[ActivationResult, Files]:
    """Put every frame through the network, and store the video and the numbers that come of it.

    What could be read of a video that breaks in the middle is kept, and the result says where it ended.

    Raises:
        BadVideo, BadPicture: not even one frame can be read.
        BadNetwork, BadCheckpoint: the network cannot be used.
        TooLarge: the numbers would be more than may be kept.
    """
    progress(0, None)
    engine = engine_of(runtime, lease)
    sent = cast(BinaryIO, PartsFile(runtime.store, [Part(*part) for part in lease.input]))
    with tempfile.TemporaryDirectory(prefix="deepvis-recording-") as folder:
        with open_video(sent, video_limits_of(runtime.settings), filename=lease.filename) as video:
            total = -(-video.facts.frames // lease.spec.step) if video.facts.frames else None
            with _reel(runtime, lease, engine, Path(folder)) as reel:
                for frames in _batches(video, lease.spec.step):
                    reel.add(frames)
                    progress(reel.frames, total)
        return reel.result(video.ended), _stored(runtime, reel.paths, lambda: progress(reel.frames, reel.frames))


def _batches(video: Video, step: int) -> Iterator[list[Frame]]:
    frames = islice(iter(video), 0, None, step)
    while batch := list(islice(frames, BATCH_FRAMES)):
        yield batch


@contextmanager
def _reel(runtime: Runtime, lease: ActivationLease, engine: Engine, folder: Path) -> Iterator["_Reel"]:
    stage = Stage([layer.name for layer in lease.layers])
    with ExitStack() as open_files, Film(folder / VIDEO_FILE, stage.size, runtime.engines.threads) as film:
        yield _Reel(lease, engine, stage, film, _Numbers(open_files, folder, runtime.settings.max_recording_bytes))


class _Numbers:
    """Writes what is kept as numbers: a file for each layer, one for the classes, one for the times."""

    def __init__(self, open_files: ExitStack, folder: Path, most_bytes: int) -> None:
        self._open_files = open_files
        self._folder = folder
        self._left = most_bytes
        self._most = most_bytes
        self._streams: dict[str, TensorStream] = {}

    @property
    def paths(self) -> list[Path]:
        return [stream.path for stream in self._streams.values()]

    def add(self, file: str, name: str, row: NDArray[Any]) -> None:
        """Append a row to the tensor `name` in its file.

        Raises:
            TooLarge: that would be more than may be kept.
        """
        self._left -= row.nbytes
        if self._left < 0:
            remedy = "Ask for fewer layers, every few frames only (step), or none of the numbers (data)."
            raise TooLarge(f"The numbers of the recording are more than {self._most} bytes.", remedy)
        if file not in self._streams:
            stream = TensorStream(self._folder / file, name, row.shape, row.dtype.name)
            self._streams[file] = self._open_files.enter_context(stream)
        self._streams[file].append(row)


class _Reel:
    """Takes the frames of one recording."""

    def __init__(self, lease: ActivationLease, engine: Engine, stage: Stage, film: Film, kept: _Numbers) -> None:
        self.frames = 0
        self.seconds = 0.0  # of the last frame
        self._lease = lease
        self._engine = engine
        self._stage = stage
        self._film = film
        self._numbers = kept
        self._shapes: dict[str, tuple[int, ...]] = {}  # (units, h, w) by layer

    @property
    def paths(self) -> list[Path]:
        return [self._film.path, *self._numbers.paths]

    def add(self, frames: Sequence[Frame]) -> None:
        """Put frames through the network, draw and write what it answers."""
        seen = [as_input(frame.image, self._engine.network.input_shape) for frame in frames]
        answers = ask(self._engine, seen, self._lease.layers, self._lease.spec.side)
        for number, frame in enumerate(frames):
            maps = {name: every[number] for name, every in answers.maps.items()}
            self._draw(frame, seen[number], maps, answers.probabilities[number])
            if self._lease.spec.data:
                self._write(frame, maps, answers.probabilities[number])
            self._shapes = {name: tuple(each.shape) for name, each in maps.items()}
            self.frames, self.seconds = self.frames + 1, frame.seconds

    def result(self, ended: str) -> ActivationResult:
        """What came of it."""
        width, height = self._stage.size
        return ActivationResult(
            layers=tuple(self._view(layer) for layer in self._lease.layers),
            frames=self.frames,
            seconds=self.seconds,
            width=width,
            height=height,
            ended=ended,
            device=self._engine.device_name,
        )

    def _draw(self, frame: Frame, seen: Pixels, maps: Mapping[str, Tensor], probabilities: Tensor) -> None:
        grids = [tile_grid(shade(maps[layer.name], gamma=GAMMA), side=GRID_SIDE) for layer in self._lease.layers]
        chances = for_people(likeliest(probabilities, self._lease.labels, SHOWN_CLASSES))
        self._film.add(self._stage.frame(seen, grids, chances, f"{frame.seconds:.2f} s"), frame.seconds)

    def _write(self, frame: Frame, maps: Mapping[str, Tensor], probabilities: Tensor) -> None:
        for layer in self._lease.layers:
            self._numbers.add(_data_file(layer), "activations", numbers(maps[layer.name]))
        self._numbers.add("probabilities.safetensors", "probabilities", numbers(probabilities))
        self._numbers.add("seconds.safetensors", "seconds", np.array(frame.seconds))

    def _view(self, layer: LayerInfo) -> LayerView:
        units, height, width = self._shapes[layer.name]
        data = _data_file(layer) if self._lease.spec.data else ""
        return LayerView(layer=layer.name, order=layer.order, units=units, height=height, width=width, data=data)


def _data_file(layer: LayerInfo) -> str:
    return f"layer-{layer.order}.safetensors"


def _stored(runtime: Runtime, paths: Sequence[Path], progress: Callable[[], None]) -> Files:
    files: dict[str, list[StoredPart]] = {}
    for path in paths:
        with path.open("rb") as file:
            files[path.name] = [StoredPart(*part) for part in put_parts(runtime.store, file)]
        path.unlink()
        progress()
    return files
