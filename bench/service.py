"""What the service adds: unit-steps per second of an atlas through API, broker, database and store over the library's.

The same shards are computed twice: by a worker of a freshly started installation, from the first shard's start to
the last commit, and by the library alone in this process. Planning is not part of it; it is printed beside.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.timing import heading
from core.recipes import DEFAULT_RECIPES
from core.specs import LayerInfo, Recipe
from deepvis.engine import Engine
from deepvis.layers import describe
from deepvis.networks import find_source, load_network

STEPS = 100
_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 900


def run(
    name: str = "squeezenet1_0@random", layers: tuple[str, ...] = ("features.3.expand3x3", "features.9.squeeze")
) -> None:
    """Prints both rates and their ratio."""
    heading(f"End to end: {name}, layers {', '.join(layers)}, five recipes of {STEPS} steps")
    with tempfile.TemporaryDirectory() as home, installation(Path(home)) as api:
        images, service_seconds, planning_seconds = _through_the_service(api, name, layers)
    network = load_network(find_source(name))
    infos = [layer for layer in describe(network).layers if layer.name in layers]
    library_seconds = _by_the_library(Engine(network), infos)
    rates = [images * STEPS / seconds for seconds in (service_seconds, library_seconds)]
    print(f"planning {planning_seconds:.1f} s; {images} unit-images")
    print(f"service {rates[0]:.0f} unit-steps/s, library {rates[1]:.0f} unit-steps/s, ratio {rates[0] / rates[1]:.3f}")


@contextlib.contextmanager
def installation(home: Path) -> Iterator[httpx.Client]:
    """A whole installation with one worker; a client of its API."""
    log = home / "up.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", "--port", "0"],
            env={**os.environ, "DEEPVIS_HOME": str(home), "PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=_address(log, process), timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.wait(60)


def _address(log: Path, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        for word in log.read_text().split():
            if word.startswith("http://"):
                return word
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"the installation did not start: {log.read_text()}")


def _through_the_service(api: httpx.Client, name: str, layers: tuple[str, ...]) -> tuple[int, float, float]:
    """Unit-images, seconds from the first shard to the end, seconds of planning."""
    body = {"network": name, "layers": list(layers), "steps": STEPS}
    asked = time.perf_counter()
    answer = api.post("/api/v1/atlases", json=body)
    while answer.status_code in {404, 503} and time.perf_counter() < asked + _PATIENCE_SECONDS:
        time.sleep(1)  # the worker has not registered or described the network yet
        answer = api.post("/api/v1/atlases", json=body)
    answer.raise_for_status()
    url = f"/api/v1/atlases/{answer.json()['id']}"
    began = None
    while time.perf_counter() < asked + _PATIENCE_SECONDS:
        atlas = api.get(url).json()
        if began is None and atlas["state"] != "queued" and atlas["state"] != "planning":
            began = time.perf_counter()
        if atlas["state"] == "complete" and began is not None:
            return atlas["progress"]["images"], time.perf_counter() - began, began - asked
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"the atlas did not complete in time: {atlas}")


def _by_the_library(engine: Engine, layers: list[LayerInfo]) -> float:
    """Seconds for the same pictures."""
    start = time.perf_counter()
    for layer in layers:
        for recipe in DEFAULT_RECIPES:
            _compute(engine, layer, recipe.model_copy(update={"steps": STEPS}))
    return time.perf_counter() - start


def _compute(engine: Engine, layer: LayerInfo, recipe: Recipe) -> None:
    for _ in engine.preferred_pictures(layer, recipe, [(unit, 0) for unit in range(layer.units)]):
        pass
