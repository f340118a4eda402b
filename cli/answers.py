"""The API's answers that the commands use: the fields they read, everything else ignored."""

from typing import Literal

from pydantic import BaseModel

AtlasState = Literal["queued", "planning", "running", "complete", "complete_with_failures", "cancelled", "failed"]
FINISHED = frozenset({"complete", "complete_with_failures", "cancelled", "failed"})


class Progress(BaseModel):
    """How far an atlas is. Numbers of pictures."""

    images: int = 0
    images_done: int = 0
    images_per_second: float | None = None
    seconds_left: float | None = None


class Failure(BaseModel):
    """A shard that was given up, and why."""

    layer: str | None = None
    units: list[int] = []
    first_image: int | None = None
    last_image: int | None = None
    error: str = ""


class AtlasAnswer(BaseModel):
    """One atlas."""

    id: str
    network: str
    state: AtlasState
    error: str | None = None
    progress: Progress = Progress()
    failures: list[Failure] = []
    unread_images: int = 0  # of its probe set

    @property
    def finished(self) -> bool:
        return self.state in FINISHED


class LayerAnswer(BaseModel):
    """What a layer answered, and the names of its files."""

    layer: str
    order: int
    grid: str = ""
    data: str = ""


class JobResult(BaseModel):
    """What came of activations."""

    layers: list[LayerAnswer] = []
    ended: str = ""


class JobAnswer(BaseModel):
    """Activations of a picture or a video."""

    id: str
    kind: Literal["picture", "recording"]
    network: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    done: int = 0
    total: int | None = None
    error: str | None = None
    result: JobResult = JobResult()
    links: dict[str, str] = {}

    @property
    def finished(self) -> bool:
        return self.state not in ("queued", "running")


class ProbeSetAnswer(BaseModel):
    """One probe set."""

    id: str
    name: str
    origin: str
    state: Literal["filling", "ready"]
    in_place: bool
    labels: list[str] = []  # of one set alone; a list of sets leaves them out
    labels_fixed: bool = False


class AddedAnswer(BaseModel):
    """What became of some files."""

    images: int = 0
    duplicates: int = 0
    skipped: int = 0
    repeated: int = 0
