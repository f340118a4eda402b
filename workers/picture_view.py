"""The whole network's view of one picture: every layer's grid, the most excited units, one large picture, the data."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor

from core.activation_specs import LIKELIEST_CLASSES, ActivationResult, LayerView
from core.specs import LayerInfo
from core.uploads import encode_clean, limits_of, read_upload
from db.activations import ActivationLease, Files, StoredPart
from deepvis.activations import Answers, as_input, grid_columns, shade, tile_grid
from deepvis.panels import Panel, enlarged, whole_picture
from deepvis.pictures import Pixels, encode_png, to_image
from store.parts import Part, PartsFile, put_parts
from workers.activations import Progress
from workers.answers import GAMMA, ask, engine_of, for_people, likeliest, numbers, strongest
from workers.runtime import Runtime

GRID_SIDE = 1600
"""Most pixels of a grid's longer side; its tiles are made smaller beyond that, the data never."""


def look_at_picture(runtime: Runtime, lease: ActivationLease, progress: Progress) -> tuple[ActivationResult, Files]:
    """Put the picture through the network, and store what its layers answer.

    Raises:
        BadPicture: it cannot be read.
        BadNetwork, BadCheckpoint: the network cannot be used.
    """
    progress(0, len(lease.layers))
    sent = PartsFile(runtime.store, [Part(*part) for part in lease.input]).readall() or b""
    image = read_upload(sent, replace(limits_of(runtime.settings), most_bytes=len(sent)))  # cleaned, not as it came
    engine = engine_of(runtime, lease)
    seen = as_input(image, engine.network.input_shape)
    answers = ask(engine, [seen], lease.layers, lease.spec.side)
    view = _View(runtime, lease, seen, answers)
    for number, layer in enumerate(lease.layers, 1):
        view.add(layer, answers.maps[layer.name][0])
        progress(number, len(lease.layers))
    return view.finish(engine.device_name)


class _View:
    """Gathers the files and the words of one picture's view."""

    def __init__(self, runtime: Runtime, lease: ActivationLease, seen: Pixels, answers: Answers) -> None:
        self._runtime = runtime
        self._lease = lease
        self._seen = seen
        self._answers = answers
        self._files: dict[str, Sequence[StoredPart]] = {}
        self._layers: list[LayerView] = []
        self._panels: list[Panel] = []

    def add(self, layer: LayerInfo, maps: Tensor) -> None:
        """Draw a layer's maps (units, h, w)."""
        grid = tile_grid(shade(maps, gamma=GAMMA), side=GRID_SIDE)
        name = f"layer-{layer.order}.png"
        self._keep(name, encode_png(grid))
        units, height, width = maps.shape
        self._panels.append(Panel(f"{layer.name}   {units} x {height} x {width}", enlarged(grid)))
        self._layers.append(
            LayerView(
                layer=layer.name,
                order=layer.order,
                units=units,
                height=height,
                width=width,
                grid=name,
                columns=grid_columns(units),
                strongest=strongest(maps, layer, self._lease.labels),
            )
        )

    def finish(self, device: str) -> tuple[ActivationResult, Files]:
        """What came of it, once every layer is there."""
        classes = likeliest(self._answers.probabilities[0], self._lease.labels, LIKELIEST_CLASSES)
        heading = (
            f"{self._lease.network.name}: {self._lease.filename}" if self._lease.filename else self._lease.network.name
        )
        whole = whole_picture(heading, self._seen, for_people(classes), self._panels)
        self._keep("seen.png", encode_clean(to_image(self._seen)))
        self._keep("whole.png", encode_clean(whole))
        if self._lease.spec.data:
            self._keep_data()
        size = {"width": whole.width, "height": whole.height}
        result = ActivationResult(layers=tuple(self._layers), classes=classes, frames=1, device=device, **size)
        return result, self._files

    def _keep_data(self) -> None:
        arrays = dict(self._arrays())
        self._keep("activations.safetensors", save(arrays))
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # names are layers', and never "file"
        self._keep("activations.npz", file.getvalue())

    def _arrays(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        for layer in self._lease.layers:
            yield layer.name, numbers(self._answers.maps[layer.name][0])
        yield "probabilities", numbers(self._answers.probabilities[0])

    def _keep(self, name: str, data: bytes) -> None:
        parts = put_parts(self._runtime.store, io.BytesIO(data))
        self._files[name] = [StoredPart(*part) for part in parts]
