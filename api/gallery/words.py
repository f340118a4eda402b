"""The gallery's wording: numbers, times, states and alt texts for people. Plain functions, used as template filters."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from core.specs import FourierMethod, PixelMethod, Recipe, ShardKind, Spec, Window

ATLAS_STATES = {
    "queued": ("Waiting for a worker", ""),
    "planning": ("Being planned", "live"),
    "running": ("In the making", "live"),
    "complete": ("Complete", "good"),
    "complete_with_failures": ("Complete, with failures", "bad"),
    "cancelled": ("Cancelled", ""),
    "failed": ("Failed", "bad"),
}
"""Atlas state -> (words, CSS class)."""

NETWORK_STATES = {
    "registered": "known by name; no worker has looked at it yet",
    "describing": "a worker is finding its layers",
    "described": "its layers are known",
    "failed": "it could not be read",
}

KINDS = {
    "conv": "convolution",
    "linear": "linear",
    "norm": "normalisation",
    "pool": "pooling",
    "concat": "concatenation",
    "attention": "attention",
}

SHARD_STATES = {
    "pending": "waiting",
    "running": "in the making",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}

EMPTY_PICTURES = {
    "dead": ("dead", "This unit is dead: its gradient is exactly zero from every start, so nothing can excite it."),
    "non_finite": (
        "not finite",
        "The activation or its gradient became infinite or not a number, so there is no picture.",
    ),
}
"""Picture state without a picture -> (a word for a tile, a sentence)."""

VIEWS = {
    "crop": "Crop",
    "deconvolution": "Deconvolution",
    "guided": "Guided",
    "gradient": "Gradient",
}
"""Kind of a unit's view -> words, in the order shown."""

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def count(number: int) -> str:
    """12345 -> '12,345'."""
    return f"{number:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """(1, 'unit') -> '1 unit'; (4096, 'unit') -> '4,096 units'."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def bytes_words(number: float) -> str:
    """3200000 -> '3.2 MB'."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def value(number: float | None) -> str:
    """An activation, to about three digits: 71.234 -> '71.2'."""
    if number is None:
        return "none"
    size = abs(number)
    if size and (size >= 1e5 or size < 1e-3):
        return f"{number:.2e}"
    return f"{number:,.{0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def percent(fraction: float) -> str:
    """A share, never rounded up to all: 0.9996 -> '99 %'."""
    if 0 < fraction < 0.01:
        return "under 1 %"
    return f"{int(fraction * 100 + 1e-9)} %"


def exact_percent(fraction: float) -> str:
    """A share as it is, to a tenth below ten: 0.043 -> '4.3 %'."""
    return f"{fraction * 100:.{0 if fraction >= 0.1 or not fraction else 1}f} %"


def rate(images_per_second: float) -> str:
    """0.25 -> '15 a minute'; 12.3 -> '12 a second'."""
    if images_per_second >= 1:
        return f"{images_per_second:,.0f} a second"
    return f"{images_per_second * 60:.2g} a minute"


def duration(seconds: float) -> str:
    """134 -> '2 minutes'; the largest unit that fits, rounded."""
    if 0 < seconds < 1:
        return "under a second"
    size, name = next((unit for unit in _UNITS if seconds >= unit[0]), _UNITS[-1])
    return plural(round(seconds / size), name)


def seconds(number: float) -> str:
    """0.4312 -> '0.43 s'."""
    return f"{number:.2g} s" if number < 10 else f"{number:,.0f} s"


def ago(moment: datetime | None) -> str:
    """A past moment from now: '3 hours ago'."""
    if moment is None:
        return ""
    passed = (datetime.now(UTC) - moment).total_seconds()
    return "just now" if passed < 5 else f"{duration(passed)} ago"


def shape(sizes: Sequence[int]) -> str:
    """(64, 29, 29) -> '64 × 29 × 29'."""
    return " × ".join(f"{n:,}" for n in sizes)


def window_size(window: Window) -> str:
    """'7 × 7 px', width first, or that it is the whole input."""
    return "the whole input" if window.full else f"{window.width} × {window.height} px"


def window_share(window: Window, input_shape: Sequence[int]) -> str:
    """How much of the input a window covers: '3 %'."""
    return percent(window.height * window.width / (input_shape[-2] * input_shape[-1]))


class Address(NamedTuple):
    """A unit of a network."""

    network: str
    layer: str
    unit: int | str


def alt(unit: Address, style: str, seed: int, label: str | None = None) -> str:
    """The alternative text of a picture."""
    named = f" ({label})" if label else ""
    return f"Preferred picture of {unit.network} {unit.layer}:{unit.unit}{named}, style {style}, seed {seed}"


def top_alt(unit: Address, label: str | None = None) -> str:
    """The alternative text of the crop of a unit's top image."""
    named = f" ({label})" if label else ""
    return f"Crop of the real image that {unit.network} {unit.layer}:{unit.unit}{named} answers to most"


def first_name(label: str) -> str:
    """'tabby, tabby cat' -> 'tabby': the first of a label's synonyms."""
    return label.partition(",")[0].strip()


def unit_ranges(units: Sequence[int]) -> str:
    """Ascending units as ranges: (0, 1, 2, 7) -> '0-2, 7', with a real dash."""
    runs: list[list[int]] = []
    for unit in units:
        if runs and unit == runs[-1][1] + 1:
            runs[-1][1] = unit
        else:
            runs.append([unit, unit])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in runs)


def work_words(kind: ShardKind, style: str) -> str:
    """What a shard makes: a style of preferred pictures, or a part of what a probe set shows."""
    return {
        ShardKind.PREFERRED: style,
        ShardKind.PROBE: "Probe set",
        ShardKind.MERGE: "Answers put together",
        ShardKind.BACKWARD: "Top images",
    }[kind]


def recipe_words(recipe: Recipe) -> list[str]:
    """The settings of a recipe as short phrases."""
    what = "the centre unit" if recipe.objective == "centre" else "the mean over the channel"
    goal = "silences" if recipe.direction == "silence" else "excites"
    method = recipe.method
    return [f"{goal} {what}", *(_fourier(method) if isinstance(method, FourierMethod) else _pixels(method))]


def _fourier(method: FourierMethod) -> list[str]:
    return [
        "Fourier coefficients, decorrelated colours",
        f"Adam, learning rate {method.learning_rate:g}",
        f"random views: shift {method.shift:g}, rotation {method.rotation_degrees:g}°, scale {method.scale:g}",
    ]


def _pixels(method: PixelMethod) -> list[str]:
    blur = f"blur {method.blur_width:g} px every {method.blur_every} steps"
    clips = (
        (method.norm_percentile, "small-norm"),
        (method.contribution_percentile, "small-contribution"),
        (method.value_percentile, "small-value"),
        (method.benefit_percentile, "small-benefit"),
    )
    phrases = [
        f"decay {method.decay:g}" if method.decay else "",
        blur if method.blur_every else "",
        *(f"{name} clipping at percentile {level:g}" if level else "" for level, name in clips),
    ]
    told = [phrase for phrase in phrases if phrase] or ["no regularisation"]
    return [*told, f"step rule {_settings(method.step)}"]


def _settings(spec: Spec) -> str:
    """'normalised (rms 8, anneal)' for a step rule."""
    values = spec.model_dump()
    rule = values.pop("rule")
    told = [
        f"{k.replace('_', ' ')} {v:g}" if not isinstance(v, bool) else k for k, v in values.items() if v is not False
    ]
    return f"{rule} ({', '.join(told)})"


FILTERS = {
    f.__name__: f
    for f in (
        count, plural, bytes_words, value, percent, duration, seconds, ago, shape, window_size, window_share,
        first_name, unit_ranges, recipe_words,
    )
}  # fmt: skip
