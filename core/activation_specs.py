"""What is asked of one picture or one video, and what came of it: dumps of these are in the database."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from core.specs import NETWORK_NAME, Spec

MOST_RECORDED_LAYERS = 12
"""Of one recording: their grids stand side by side in its video."""
STRONGEST_UNITS = 8
"""Named of every layer."""
LIKELIEST_CLASSES = 5
INPUT_FILE = "input"
"""The picture or video as it was sent, among the files of a job."""

Side = Literal["after", "before"]
"""Of the non-linearity that directly follows a layer."""


class ActivationKind(StrEnum):
    """What is looked at."""

    PICTURE = "picture"  # one picture: every layer's answer
    RECORDING = "recording"  # a video or an animated picture: some layers' answers to every frame


class ActivationSpec(Spec):
    """The wish, all names resolved; `layers` are in forward order."""

    kind: ActivationKind
    network: str = Field(pattern=NETWORK_NAME)
    layers: tuple[str, ...] = Field(min_length=1)
    side: Side = "after"
    step: int = Field(default=1, ge=1, description="Every how manyth frame of a recording is looked at")
    data: bool = Field(default=True, description="Whether the numbers themselves are kept, beside the pictures")


class UnitValue(Spec):
    """A unit and its highest activation in the picture; None: it is not finite."""

    unit: int = Field(ge=0)
    value: float | None
    label: str = ""


class LayerView(Spec):
    """What a layer answered. The grid's tiles are in row-major order, unit 0 first."""

    layer: str
    order: int
    units: int
    height: int = Field(ge=1, description="Of one unit's map")
    width: int = Field(ge=1, description="Of one unit's map")
    grid: str = Field(default="", description="File of the grid; empty where there is only a video")
    columns: int = Field(default=0, description="Tiles in a row of the grid")
    data: str = Field(default="", description="File of the layer's numbers over all frames")
    strongest: tuple[UnitValue, ...] = ()


class ClassChance(Spec):
    """A class and its probability."""

    unit: int = Field(ge=0)
    label: str
    probability: float


class ActivationResult(Spec):
    """What came of it: an empty one until it is done."""

    layers: tuple[LayerView, ...] = ()
    classes: tuple[ClassChance, ...] = ()
    frames: int = Field(default=0, description="Frames that were looked at")
    seconds: float = Field(default=0.0, description="How long the resulting video plays")
    width: int = Field(default=0, description="Of the large picture, or of the video")
    height: int = Field(default=0, description="Of the large picture, or of the video")
    ended: str = Field(default="", description="Where and why the video could not be read on; empty: it was read whole")
    device: str = ""
