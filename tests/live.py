"""Live sessions for tests: the demo network described, a live worker, and a viewer that asks as the page does."""

import io
import json
from typing import Any

import httpx
from PIL import Image, ImageDraw

from broker.packets import unpack
from db import networks
from deepvis.layers import describe
from deepvis.networks import find_source, load_network
from tests.services import Installation, Worker, wait_until


def know_demo(installation: Installation) -> None:
    """What an ordinary worker would find out about the demo network."""
    source = find_source("demo")
    with installation.sessions.begin() as session:
        networks.register(session, source)
        networks.begin_description(session, source.name, 3)
        networks.save_description(session, source.name, describe(load_network(source)))


def live_worker(installation: Installation) -> Worker:
    """A live worker process."""
    return Worker(installation.env, "workers.main", "--live")


def picture(shift: int = 0, size: tuple[int, int] = (64, 64), kind: str = "JPEG") -> bytes:
    """A yellow disc that `shift` moves."""
    image, buffer = Image.new("RGB", size, "navy"), io.BytesIO()
    ImageDraw.Draw(image).ellipse((10 + shift, 14, 40 + shift, 44), "gold")
    image.save(buffer, kind)
    return buffer.getvalue()


class Viewer:
    """Somebody who looks at the demo network through the REST API."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=30)
        made = self.client.post("/api/v1/live", json={"network": "demo"})
        assert made.status_code == 201, made.text
        self.id, self.frames = made.json()["id"], made.json()["links"]["frames"]

    def send(self, data: bytes, **view: Any) -> httpx.Response:
        """A frame, whatever comes of it."""
        headers = {"Content-Type": "image/jpeg"}
        return self.client.post(
            self.frames, params={"layer": "conv2", "grid": 300, **view}, content=data, headers=headers
        )

    def look(self, data: bytes | None = None, **view: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
        """A frame's answer; tries until a worker serves."""
        answers: list[httpx.Response] = []

        def answered() -> bool:
            answers.append(self.send(data or picture(), **view))
            assert answers[-1].status_code in (200, 503), answers[-1].text
            return answers[-1].status_code == 200

        wait_until(answered, 60, "an answer to a frame")
        return unpack(answers[-1].content)

    def close(self) -> None:
        self.client.delete(f"/api/v1/live/{self.id}")
        self.client.close()


def problem(answer: httpx.Response) -> str:
    """The kind of problem that an answer tells of."""
    return str(json.loads(answer.text)["type"]).rpartition("/")[2]
