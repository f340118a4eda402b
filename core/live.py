"""Live activations: what a viewer wants to see of a frame, and whose queue it goes to."""

from typing import Literal

from pydantic import Field

from core.specs import BackwardKind, Spec

LIVE_QUEUE = "deepvis.live"
"""The queue of live sessions. Only live workers empty it, whatever their device."""
MOST_GRID_PIXELS = 2048


class LiveView(Spec):
    """Only what is on screen is computed, encoded and sent: each part can be left out."""

    layer: str = Field(default="", max_length=200, description="Whose activations are shown; empty: none")
    unit: int = Field(default=0, ge=0, le=10_000_000, description="Of that layer, shown enlarged")
    side: Literal["after", "before"] = Field(default="after", description="Of the non-linearity behind the layer")
    grid: int = Field(default=0, ge=0, le=MOST_GRID_PIXELS, description="Longest side of the grid of tiles; 0: none")
    gamma: float = Field(default=1.0, ge=0.1, le=4, description="Contrast: less than 1 shows the weak")
    per_channel: float = Field(
        default=0.0, ge=0, le=1, description="0 measures a unit by the layer's maximum, 1 by its own"
    )
    top: int = Field(default=5, ge=0, le=100, description="Classes to name")
    backward: BackwardKind | None = Field(default=None, description="How the unit is traced back to the frame")
    shown_as: Literal["raw", "gray", "norm", "blurred"] = Field(
        default="gray", description="What is made of the backward view"
    )
    from_layer: str = Field(default="", max_length=200, description="Layer that is traced back; empty: the one shown")
    from_unit: int = Field(default=0, ge=0, le=10_000_000, description="Unit that is traced back, of `from_layer`")
    in_grid: bool = Field(default=False, description="Whether the grid shows every unit's backward view")
    grow: bool = Field(default=False, description="Whether the unit's preferred picture is made, and shown as it grows")
