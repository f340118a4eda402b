"""Frozen, validated, serialisable specifications that travel between the rooms."""

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

# Raised whenever the same recipe would give different pictures: it is part of every recipe's content hash.
METHOD_VERSION = 1

MAX_SEEDS = 9
MAX_STEPS = 10_000
MIN_WEIGHT, MAX_WEIGHT = 0.01, 100.0
"""Of an atlas. What was handed out is divided by it, so that one near nothing would count without end."""


class Spec(BaseModel):
    """Base of all specifications: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# --- who may ask, and what computes --------------------------------------------


class Scope(StrEnum):
    """What a token allows; each includes those before it."""

    READ = "read"  # look at everything
    SUBMIT = "submit"  # ask for atlases, and cancel, retry and weigh one's own
    ADMIN = "admin"  # everybody's atlases, networks and workers

    def includes(self, needed: "Scope") -> bool:
        """Whether a token of this scope may do what `needed` allows."""
        scopes = list(Scope)
        return scopes.index(self) >= scopes.index(needed)


class DeviceKind(StrEnum):
    """What kind of device a worker has, or an atlas asks for."""

    ANY = "any"
    GPU = "gpu"
    CPU = "cpu"


class Priority(StrEnum):
    """Who is served first: small interactive work does not wait behind a whole network."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


LOCAL_OWNER = "local"
"""Owner of what is asked for without a token."""


# --- recipes -----------------------------------------------------------------


def _whole(value: object) -> object:
    """JSON has one kind of number: 2.0 is 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
Whole = Annotated[int, Field(strict=True), WHOLE]
"""A whole number: neither its digits as a text, nor true or false."""


class Part(Spec):
    """Base of a recipe and its parts, which people write: a text is no number, and a number no yes or no."""

    model_config = ConfigDict(strict=True)

    @field_validator("*")
    @classmethod
    def _one_zero(cls, value: object) -> object:
        """-0.0 is 0.0: they make the same picture, so they must not make two hashes."""
        return value + 0.0 if isinstance(value, float) else value


class ConstantStep(Part):
    """x += rate * g (paper, learning rate policy "constant")."""

    rule: Literal["constant"] = "constant"
    rate: float = Field(gt=0, le=1e9)


class ProgressStep(Part):
    """rate = min(max_rate, desired / ||g||^2), so that a linear unit would rise by `desired`."""

    rule: Literal["progress"] = "progress"
    desired: float = Field(gt=0, le=1e9)
    max_rate: float = Field(gt=0, le=1e12)


class Progress01Step(Part):
    """As progress, for outputs in [0, 1]: desired = min(early, late_multiple * (1 - a))."""

    rule: Literal["progress01"] = "progress01"
    early: float = Field(gt=0, le=1)
    late_multiple: float = Field(gt=0, le=1)
    max_rate: float = Field(gt=0, le=1e12)


class NormalisedStep(Part):
    """Each step has a fixed root mean square in pixel units (0..255), falling linearly to 0 if `anneal`."""

    rule: Literal["normalised"] = "normalised"
    rms: float = Field(default=8.0, gt=0, le=255)
    anneal: bool = True


StepRule = Annotated[ConstantStep | ProgressStep | Progress01Step | NormalisedStep, Field(discriminator="rule")]
Percentile = Annotated[float, Field(ge=0, lt=100)]


class PixelMethod(Part):
    """Regularised ascent on pixels (Yosinski et al. 2015, section 3). A value of 0 turns a regulariser off."""

    method: Literal["pixels"] = "pixels"
    start: Literal["noise", "uniform", "mean"] = "noise"
    step: StepRule = NormalisedStep()
    decay: float = Field(default=0.0, ge=0, lt=1)
    blur_width: float = Field(default=0.0, ge=0, le=32, json_schema_extra={"anyOf": [{"const": 0}, {"minimum": 0.3}]})
    blur_every: Whole = Field(default=0, ge=0, le=1000)
    norm_percentile: Percentile = 0.0
    contribution_percentile: Percentile = 0.0
    value_percentile: Percentile = 0.0
    benefit_percentile: Percentile = 0.0
    clamp: bool = True

    @field_validator("blur_width")
    @classmethod
    def _blur_works(cls, width: float) -> float:
        if 0 < width < 0.3:
            raise ValueError("blur widths between 0 and 0.3 do not work; use 0 (off) or at least 0.3")
        return width

    @model_validator(mode="after")
    def _blur_complete(self) -> Self:
        if (self.blur_width > 0) != (self.blur_every > 0):
            raise ValueError("blur_width and blur_every go together: both 0 (off) or both above 0")
        return self


class FourierMethod(Part):
    """Ascent on Fourier coefficients with decorrelated colour and random views (Olah et al. 2017)."""

    method: Literal["fourier"] = "fourier"
    learning_rate: float = Field(default=0.015, gt=0, le=10)
    spectrum_power: float = Field(default=1.25, ge=0, le=4)
    spectrum_scale: float = Field(default=4.0, gt=0, le=100)
    start_deviation: float = Field(default=0.01, gt=0, le=10)
    shift: float = Field(default=0.05, ge=0, le=0.5)
    rotation_degrees: float = Field(default=5.0, ge=0, le=180)
    scale: float = Field(default=0.1, ge=0, le=0.5)


Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]{0,63}$")]


class Recipe(Part):
    """How a preferred picture is made. `name` and `title` are for people and are not part of its content hash."""

    name: Slug = "custom"
    title: str = Field(default="", max_length=80)
    direction: Literal["excite", "silence"] = "excite"
    objective: Literal["centre", "channel"] = "centre"
    steps: Whole = Field(default=100, ge=1, le=MAX_STEPS)
    method: Annotated[PixelMethod | FourierMethod, Field(discriminator="method")] = PixelMethod()

    def content_hash(self) -> str:
        """Sixteen hex digits that depend on all that changes the picture, and nothing else."""
        content = self.model_dump(mode="json", exclude={"name", "title"})
        return canonical_hash({"method_version": METHOD_VERSION, **content})


def canonical_hash(value: object, digits: int = 16) -> str:
    """The first `digits` hex digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


# --- networks, layers, units ---------------------------------------------------

NETWORK_NAME = r"^[A-Za-z][A-Za-z0-9_.-]{0,63}(@[A-Za-z0-9_.-]{1,40})?$"


class NetworkSource(Spec):
    """Where a network comes from.

    `builder` is "demo", a torchvision model name, or `package.module:factory`;
    `weights` is a torchvision weights name, "random", or empty for the builder's own;
    `checkpoint` is the SHA-256 of a safetensors file in the picture store, or empty.
    """

    name: str = Field(pattern=NETWORK_NAME)
    kind: Literal["bundled", "torchvision", "factory"]
    builder: str = Field(min_length=1, max_length=200)
    weights: str = Field(default="", max_length=100)
    checkpoint: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class Window(Spec):
    """The part of the input that the centre unit of a layer sees, in pixels of the input.

    `position` is the centre unit's position in the layer's output when the network is run on the window alone
    (empty: there is but one position, or the unit is the mean over all of them, as a class score is);
    `full` says that the window is the whole input (units that see everything, or nothing smaller is exact).
    """

    top: int = Field(ge=0)
    left: int = Field(ge=0)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    position: tuple[int, ...]
    full: bool


class LayerInfo(Spec):
    """One layer of a network, as found in one traced forward pass.

    `output_shape` has no batch dimension; `unit_axis` is the axis of `output_shape` that counts units;
    `read_at` is the module whose output is read (the layer itself, or the normalisation that directly follows it);
    `labelled` says that unit i answers for label i; `default` that an atlas takes it unless told otherwise.
    """

    name: str = Field(min_length=1, max_length=200)
    kind: Literal["conv", "linear", "norm", "pool", "concat", "attention"]
    order: int = Field(ge=0)
    units: int = Field(ge=1)
    output_shape: tuple[int, ...]
    unit_axis: int
    read_at: str
    window: Window
    labelled: bool = False
    default: bool = True


class NetworkInfo(Spec):
    """What a worker found out about a network. `input_shape` is (C, H, W); mean and std are per channel, 0..1 scale."""

    source: NetworkSource
    weights_hash: str
    input_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...] = ()
    parameters: int = Field(ge=0)
    layers: tuple[LayerInfo, ...]


class UnitAddress(Spec):
    """`layer:unit`, the same in code, command line, URLs and logs."""

    layer: str
    unit: int = Field(ge=0)

    def __str__(self) -> str:
        return f"{self.layer}:{self.unit}"


# --- atlases -------------------------------------------------------------------


MAX_TOP = 100
"""Most top images of one unit."""


class BackwardKind(StrEnum):
    """How an activation is traced back to the picture."""

    GRADIENT = "gradient"
    DECONVOLUTION = "deconvolution"  # Zeiler & Fergus 2014
    GUIDED = "guided"  # Springenberg et al. 2015


class ProbeWish(Spec):
    """The dataset-centric half of an atlas: what every unit of its layers answers to in a probe set."""

    set: str = Field(min_length=1, max_length=100, description="Id of the probe set")
    top: int = Field(default=9, ge=1, le=MAX_TOP, description="Top images of every unit")
    lowest: bool = Field(default=False, description="Also the images that a unit answers to least")
    backward: tuple[BackwardKind, ...] = tuple(BackwardKind)

    @property
    def sides(self) -> tuple["Side", ...]:
        """Which ends of its answers a unit's images are kept of."""
        return tuple(Side) if self.lowest else (Side.TOP,)


class Side(StrEnum):
    """The end of a unit's answers that an image is at."""

    TOP = "top"
    LOWEST = "lowest"


class AtlasSpec(Spec):
    """The wish for an atlas, all names resolved. Empty `layers` means every default layer; empty `units` every unit.

    `recipes` make the preferred pictures, `probe` asks for the real images; at least one of them is there.
    """

    network: str = Field(pattern=NETWORK_NAME)
    layers: tuple[str, ...] = ()
    units: tuple[int, ...] = ()
    recipes: tuple[Recipe, ...] = ()
    seeds: int = Field(default=1, ge=1, le=MAX_SEEDS)
    probe: ProbeWish | None = None

    @model_validator(mode="after")
    def _wishes_something(self) -> Self:
        if not self.recipes and self.probe is None:
            raise ValueError("an atlas needs a recipe or a probe set")
        return self


class ShardKind(StrEnum):
    """What the work of a shard is."""

    PREFERRED = "preferred"  # preferred pictures of units of one layer, by one recipe
    PROBE = "probe"  # a range of the probe set's images, put through the network
    MERGE = "merge"  # all ranges' answers put together; planned when the last range is done
    BACKWARD = "backward"  # crops and backward views of one layer's units; planned when they are put together


class ShardSpec(Spec):
    """A piece of an atlas that one lease covers. `cost_seconds` is the planner's estimate on its own device.

    Preferred pictures: `units` (ascending) of `layer` x one recipe x seeds 0..seeds-1. A range of a probe set: its
    images `first` to `last`. Crops and backward views: `units` of `layer`. To put answers together takes nothing.
    """

    kind: ShardKind = ShardKind.PREFERRED
    layer: str = ""
    recipe_hash: str = ""
    units: tuple[int, ...] = ()
    seeds: int = Field(default=0, ge=0)
    first: int = Field(default=0, ge=0)
    last: int = Field(default=-1, ge=-1, description="Inclusive")
    images: int = Field(default=0, ge=0, description="Pictures that it makes, or images that it looks at")
    cost_seconds: float = Field(ge=0)


# --- thumbnails ------------------------------------------------------------------

THUMBNAIL_PIXELS = 96
"""Side of a tile of a sprite sheet."""
SHEET_COLUMNS = 8
"""Tiles in a row of a sprite sheet; tiles are in row-major order."""
SHEET_TILES = 64
"""Most tiles in one sprite sheet."""
