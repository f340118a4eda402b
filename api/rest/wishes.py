"""The body that asks for an atlas, and the specification it stands for."""

import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from core.recipes import resolve
from core.specs import (
    MAX_SEEDS,
    MAX_STEPS,
    MAX_TOP,
    MAX_WEIGHT,
    MIN_WEIGHT,
    NETWORK_NAME,
    WHOLE,
    AtlasSpec,
    BackwardKind,
    DeviceKind,
    Priority,
    ProbeWish,
    Recipe,
    Whole,
)

MAX_UNITS = 65_536
"""Most units that one atlas may list; no layer of a known network has as many."""
MAX_LAYERS = 4096
MAX_RECIPES = 32
MAX_UNIT = 10_000_000

RANGE = r"([0-9]{1,8})(?:-([0-9]{1,8}))?"
"""Units in a text: "0-63", or "7" alone."""


def _is_name(value: Any) -> str:
    return "name" if isinstance(value, str) else "recipe"


UnitOrRange = Annotated[
    Annotated[int, Field(ge=0, le=MAX_UNIT, strict=True), WHOLE, Tag("unit")]
    | Annotated[str, Field(max_length=20, json_schema_extra={"pattern": f"^{RANGE}$"}), Tag("range")],
    Discriminator(lambda value: "range" if isinstance(value, str) else "unit"),
]
NameOrRecipe = Annotated[
    Annotated[str, Field(max_length=64), Tag("name")] | Annotated[Recipe, Tag("recipe")], Discriminator(_is_name)
]
Weight = Annotated[
    float,
    Field(
        ge=MIN_WEIGHT,
        le=MAX_WEIGHT,
        strict=True,
        description="Its share of the workers beside the same owner's other atlases",
    ),
]


class WeightWish(BaseModel):
    """What an unfinished atlas should weigh."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: Weight


class ProbeBody(BaseModel):
    """A pass over a probe set: the images that every unit answers to most."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    set: str = Field(min_length=1, max_length=100, description="Name or id of a probe set")
    top: Whole = Field(default=9, ge=1, le=MAX_TOP, description="Top images of every unit")
    lowest: bool = Field(default=False, strict=True, description="Also the images that a unit answers to least")
    backward: list[BackwardKind] = Field(
        default=list(BackwardKind), max_length=3, description="Backward views of every top image"
    )

    def wish(self) -> ProbeWish:
        """The specification; the set still by the name that was given."""
        kinds = tuple(kind for kind in BackwardKind if kind in self.backward)
        return ProbeWish(set=self.set, top=self.top, lowest=self.lowest, backward=kinds)


class AtlasWish(BaseModel):
    """What an atlas should hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = Field(pattern=NETWORK_NAME, description="Name of a network")
    layers: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default=[], max_length=MAX_LAYERS, description="Names of its layers; none: every convolutional and linear layer"
    )
    units: list[UnitOrRange] = Field(
        default=[], max_length=MAX_UNITS, description='Units, or ranges such as "0-63"; none: every unit'
    )
    recipes: list[NameOrRecipe] = Field(
        default=[], max_length=MAX_RECIPES, description="Names of recipes, or whole ones; none: the default five"
    )
    probe: ProbeBody | None = Field(
        default=None, description="Also what every unit of the layers answers to in a probe set; none: nothing of that"
    )
    preferred: bool = Field(
        default=True, description="Whether to make preferred pictures; false: only what `probe` asks for"
    )
    seeds: Whole = Field(default=1, ge=1, le=MAX_SEEDS, description="Pictures per unit and recipe")
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS, strict=True), WHOLE] | None = Field(
        default=None, description="Steps of every recipe; none: each recipe's own"
    )
    device: DeviceKind = Field(default=DeviceKind.ANY, description="What kind of device may compute it")
    priority: Priority | None = Field(
        default=None,
        description="Who is served first; none: interactive if it is small, else batch. Interactive needs scope admin",
    )
    weight: Weight = 1.0

    @field_validator("units")
    @classmethod
    def _one_by_one(cls, units: list[int | str]) -> list[int | str]:
        """Ranges written out, ascending and each once."""
        spans = [_span(unit) for unit in units]
        if sum(map(len, spans)) > MAX_UNITS:  # before anything is written out
            raise ValueError(f"more than {MAX_UNITS} units; leave `units` out to take every unit")
        return sorted({unit for span in spans for unit in span})

    @model_validator(mode="after")
    def _wishes_something(self) -> Self:
        if not self.preferred and self.probe is None:
            raise ValueError("`preferred` is false and there is no `probe`: there is nothing to make")
        return self

    def spec(self) -> AtlasSpec:
        """The specification, its recipes resolved.

        Raises:
            UnknownRecipe: a recipe's name is not known, or one is named twice.
        """
        return AtlasSpec(
            network=self.network,
            layers=tuple(self.layers),
            units=tuple(int(unit) for unit in self.units),
            recipes=resolve(self.recipes, self.steps) if self.preferred else (),
            seeds=self.seeds,
            probe=self.probe and self.probe.wish(),
        )


def _span(unit: int | str) -> range:
    if isinstance(unit, int):
        return range(unit, unit + 1)
    ends = re.fullmatch(RANGE, unit)
    if ends is None:
        raise ValueError(f"{unit!r} is no range of units; write it like '0-63'")
    first, last = int(ends[1]), int(ends[2] or ends[1])
    if first > last:
        raise ValueError(f"{unit!r} is no range; write the lower unit first, such as 0-63")
    return range(first, last + 1)
