"""Activations of a picture and of a video from the request to the files: web server, Redis and worker as in earnest."""

import io
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load

from tests.conftest import ROOT
from tests.integration.test_rest import serving
from tests.services import Installation, Worker, wait_until
from tests.videos import animation, picture, video

pytestmark = pytest.mark.integration

ENDED = {"done", "failed", "cancelled"}


@pytest.fixture
def service(installation: Installation) -> Iterator[tuple[httpx.Client, Worker]]:
    """A web server and a worker that knows the demo network."""
    with serving(installation) as client, installation.worker() as worker:
        installation.wait_described()
        yield client, worker


def ask(client: httpx.Client, group: str, content: bytes, name: str, **fields: str) -> httpx.Response:
    """Send a file with fields beside it."""
    field = "picture" if group == "activations" else "video"
    return client.post(f"/api/v1/{group}", files={field: (name, content)}, data={"network": "demo", **fields})


def ended(client: httpx.Client, answer: httpx.Response, seconds: float = 60) -> dict[str, Any]:
    """The job once it has ended."""
    assert answer.status_code == 202, answer.text
    address = answer.headers["Location"]
    wait_until(lambda: client.get(address).json()["state"] in ENDED, seconds, "the end of the job")
    return dict(client.get(address).json())


def test_a_picture_is_seen_by_every_layer(service: tuple[httpx.Client, Worker]) -> None:
    client, _ = service
    job = ended(client, ask(client, "activations", picture("JPEG"), "walk.jpg"))
    assert (job["state"], job["error"]) == ("done", None)
    views = {view["layer"]: view for view in job["result"]["layers"]}
    assert list(views) == ["conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "conv4", "conv5", "pool5", "classes"]

    numbers = load(client.get(job["links"]["activations.safetensors"]).content)
    zipped = np.load(io.BytesIO(client.get(job["links"]["activations.npz"]).content))
    for name, view in views.items():
        maps = numbers[name]
        assert maps.shape == (view["units"], view["height"], view["width"])
        assert np.array_equal(maps, zipped[name])
        highest = maps.reshape(len(maps), -1).max(1)
        first = view["strongest"][0]
        assert first["unit"] == highest.argmax() and first["value"] == pytest.approx(float(highest.max()))
        grid = Image.open(io.BytesIO(client.get(job["links"][view["grid"]]).content))
        rows = -(-view["units"] // view["columns"])
        assert grid.size == (view["columns"] * (view["width"] + 1), rows * (view["height"] + 1))
    assert (numbers["conv1"] >= 0).all(), "after the non-linearity"
    assert job["result"]["classes"][0]["probability"] == pytest.approx(float(numbers["probabilities"].max()))
    whole = Image.open(io.BytesIO(client.get(job["links"]["whole.png"]).content))
    assert whole.size == (job["result"]["width"], job["result"]["height"])


def test_a_video_is_played_beside_its_activations(service: tuple[httpx.Client, Worker]) -> None:
    client, _ = service
    job = ended(client, ask(client, "recordings", video(12), "walk.mp4", layers="conv1,conv5"))
    assert (job["state"], job["error"], job["result"]["ended"]) == ("done", None, "")
    assert (job["done"], job["total"], job["result"]["frames"]) == (12, 12, 12)
    address = job["links"]["recording.webm"]
    film = client.get(address)
    assert film.headers["Content-Type"] == "video/webm"
    assert client.get(address, headers={"Range": "bytes=4-9"}).content == film.content[4:10]
    assert client.get(address, headers={"Range": "bytes=4-9"}).status_code == 206
    with av.open(io.BytesIO(film.content)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([0.1 * number for number in range(12)], abs=0.002)

    maps = load(client.get(job["links"]["layer-0.safetensors"]).content)["activations"]
    assert maps.shape == (12, 16, 64, 64)
    chances = load(client.get(job["links"]["probabilities.safetensors"]).content)["probabilities"]
    assert np.allclose(chances.sum(1), 1, atol=1e-5)
    seconds = load(client.get(job["links"]["seconds.safetensors"]).content)["seconds"]
    assert np.allclose(seconds, np.arange(12) / 10)

    moving = ended(client, ask(client, "recordings", animation(6), "walk.gif", layers="classes", step="2", data="no"))
    assert (moving["state"], moving["result"]["frames"]) == ("done", 3)
    assert [file["name"] for file in moving["files"]] == ["recording.webm"]


def most_memory(frames: int) -> int:
    """Bytes, of a process of its own."""
    command = [sys.executable, "-m", "tests.integration.recording_memory", str(frames)]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=280).stdout)


def test_a_long_video_takes_no_more_memory_than_a_short_one() -> None:
    """The numbers of the long one alone are 131 MB."""
    assert most_memory(500) < most_memory(50) + 40_000_000
