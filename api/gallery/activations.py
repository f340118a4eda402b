"""What the pages say of activations: jobs in words, layers with their grids and most excited units."""

from dataclasses import dataclass

from api.gallery import addresses
from api.gallery.words import first_name, plural, value
from api.rest.jobs import PLURAL, file_address
from core.activation_specs import INPUT_FILE, ActivationKind, LayerView, UnitValue
from core.specs import LayerInfo
from db.activation_models import JobState
from db.queries.activations import ActivationItem, ActivationView

STATES = {
    JobState.QUEUED: ("Waiting for a worker", ""),
    JobState.RUNNING: ("In the making", "live"),
    JobState.DONE: ("Done", "good"),
    JobState.FAILED: ("Failed", "bad"),
    JobState.CANCELLED: ("Cancelled", ""),
}
"""State -> (words, CSS class)."""
KINDS = {ActivationKind.PICTURE: ("Picture", "layer"), ActivationKind.RECORDING: ("Video", "frame")}
"""Kind -> (word, what its progress counts)."""
SHOWN_PIXELS = 416
"""A grid is shown about so large at least."""
FILE_WORDS = {
    "whole.png": "One large picture (PNG)",
    "recording.webm": "The video (WebM)",
    "activations.safetensors": "The numbers (safetensors)",
    "activations.npz": "The numbers (npz)",
    "probabilities.safetensors": "Class probabilities",
    "seconds.safetensors": "Times of the frames",
}


@dataclass(frozen=True)
class Unit:
    """One of a layer's most excited units."""

    address: str
    name: str
    value: str


@dataclass(frozen=True)
class Answer:
    """A layer's answer."""

    name: str
    address: str
    shape: tuple[int, int, int]
    grid: str  # address; empty: none
    width: int  # at which it is shown, in pixels
    height: int
    data: str  # address of the numbers over all frames; empty: none
    strongest: list[Unit]


@dataclass(frozen=True)
class Download:
    """A file to be saved."""

    words: str
    address: str
    megabytes: str


@dataclass(frozen=True)
class JobRow:
    """A job in words."""

    item: ActivationItem
    address: str
    title: str
    state: tuple[str, str]
    far: str
    fraction: float | None  # None: not known

    @property
    def is_live(self) -> bool:
        return not self.item.finished


@dataclass(frozen=True)
class JobPage:
    """One job with what came of it."""

    row: JobRow
    answers: list[Answer]
    downloads: list[Download]
    seen: str  # address of the input as the network sees it; empty: none
    video: str  # address; empty: none


def job_row(item: ActivationItem) -> JobRow:
    """A job as lists show it."""
    kind, counted = KINDS[item.kind]
    far = f"{item.done} of {plural(item.total, counted)}" if item.total else plural(item.done, counted)
    return JobRow(
        item=item,
        address=f"/{PLURAL[item.kind]}/{item.id}",
        title=item.filename or f"{kind} without a name",
        state=STATES[item.state],
        far=far if item.done else "",
        fraction=item.done / item.total if item.total else None,
    )


def job_page(job: ActivationView) -> JobPage:
    """A job as its page shows it."""
    files = {file.name: file.bytes for file in job.files if file.name != INPUT_FILE}
    return JobPage(
        row=job_row(job),
        answers=[_answer(job, view) for view in job.result.layers],
        downloads=[
            Download(words, file_address(job, name), _megabytes(files[name]))
            for name, words in FILE_WORDS.items()
            if name in files
        ],
        seen=file_address(job, "seen.png") if "seen.png" in files else "",
        video=file_address(job, "recording.webm") if "recording.webm" in files else "",
    )


def offered(layers: tuple[LayerInfo, ...]) -> list[LayerInfo]:
    """The layers to choose from for a video: those that an atlas takes, and poolings."""
    return [layer for layer in layers if layer.default or layer.kind in {"pool", "concat"}]


def _answer(job: ActivationView, view: LayerView) -> Answer:
    width, height = _shown(view)
    return Answer(
        name=view.layer,
        address=addresses.layer(job.network, view.layer),
        shape=(view.units, view.height, view.width),
        grid=file_address(job, view.grid) if view.grid else "",
        width=width,
        height=height,
        data=file_address(job, view.data) if view.data else "",
        strongest=[_unit(job.network, view.layer, unit) for unit in view.strongest],
    )


def _shown(view: LayerView) -> tuple[int, int]:
    """(width, height) of the grid's tiles, enlarged by a whole number where they are small."""
    rows = -(-view.units // view.columns) if view.columns else 0
    width, height = view.columns * (view.width + 1), rows * (view.height + 1)
    factor = max(1, round(SHOWN_PIXELS / max(width, height, 1)))
    return width * factor, height * factor


def _unit(network: str, layer: str, unit: UnitValue) -> Unit:
    name = first_name(unit.label) if unit.label else str(unit.unit)
    return Unit(addresses.unit(network, layer, unit.unit), name, value(unit.value))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{max(1, round(size / 1e3))} kB"
