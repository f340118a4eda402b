"""`deepvis activations` and `deepvis record` against the real API; what a worker would do is written into it."""

import io
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from api.services import Services
from core.activation_specs import ActivationResult, LayerView
from db import activations
from db.activations import ActivationLease, StoredPart
from db.queries.activations import list_jobs
from store.parts import put_parts
from tests.services import wait_until
from tests.unit.test_cli_atlases import run, services
from tests.videos import picture, sound, video

__all__ = ["services"]

VIEW = LayerView(layer="conv", order=0, units=6, height=4, width=4, grid="layer-0.png", columns=3)
FILES = ("whole.png", "seen.png", "layer-0.png", "activations.safetensors", "activations.npz")
MOVING = ("recording.webm", "layer-0.safetensors", "probabilities.safetensors", "seconds.safetensors")


def begin(services: Services) -> ActivationLease:
    """Take up the one job that waits, once there is one."""

    def waiting() -> list[str]:
        with services.sessions() as session:
            return [item.id for item in list_jobs(session).items if not item.finished]

    wait_until(lambda: bool(waiting()), 30, "a job")
    with services.sessions.begin() as session:
        lease = activations.begin(session, waiting()[0], "token", 60, 3)
    assert lease is not None
    return lease


def finish(services: Services, result: ActivationResult, names: tuple[str, ...]) -> None:
    lease = begin(services)
    files = {}
    for name in names:
        parts = put_parts(services.store, io.BytesIO(name.encode()))
        files[name] = [StoredPart(*part) for part in parts]
    with services.sessions.begin() as session:
        activations.finish(session, lease, result, files)


@pytest.fixture
def aside(services: Services):
    """Runs a worker's part while the command waits."""
    threads = []

    def start(act: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=act))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join()


def test_a_pictures_files_are_written_into_a_folder(services: Services, aside, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(picture())
    aside(lambda: finish(services, ActivationResult(layers=(VIEW,), frames=1), FILES))
    done = run("activations", "tiny", str(tmp_path / "cat.png"), "--layers", "conv", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    written = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert written == {**{name: name for name in FILES if name != "layer-0.png"}, "00-conv.png": "layer-0.png"}
    assert "/activations/" in done.output


def test_a_recording_is_a_video_and_its_numbers(services: Services, aside, tmp_path: Path) -> None:
    (tmp_path / "walk.mp4").write_bytes(video(3))
    moving = VIEW.model_copy(update={"grid": "", "data": "layer-0.safetensors"})
    cut = ActivationResult(layers=(moving,), frames=3, ended="After frame 3 (0.20 s): torn.")
    aside(lambda: finish(services, cut, MOVING))
    out, data = tmp_path / "made" / "walk.webm", tmp_path / "numbers"
    done = run("record", "tiny", str(tmp_path / "walk.mp4"), "--layers", "conv", "--out", str(out), "--data", str(data))
    assert done.exit_code == 1, "it was cut off"
    assert "could not be read to its end. After frame 3" in done.output
    assert out.read_text() == "recording.webm"
    assert {path.name for path in data.iterdir()} == {"00-conv.safetensors", *MOVING[2:]}


def test_what_fails_is_said(services: Services, aside, tmp_path: Path) -> None:
    (tmp_path / "walk.mp4").write_bytes(video(3))
    (tmp_path / "talk.mp4").write_bytes(sound())
    out = str(tmp_path / "a.webm")

    def fail() -> None:
        lease = begin(services)
        with services.sessions.begin() as session:
            activations.fail(session, lease, "out of memory")

    aside(fail)
    failed = run("record", "tiny", str(tmp_path / "walk.mp4"), "--layers", "conv", "--out", out)
    assert (failed.exit_code, "Failed: out of memory" in failed.output) == (1, True)
    refused = run("record", "tiny", str(tmp_path / "talk.mp4"), "--layers", "conv", "--out", out)
    assert (refused.exit_code, "only sound" in refused.output) == (2, True)
    unknown = run("record", "tiny", str(tmp_path / "walk.mp4"), "--layers", "conf", "--out", out)
    assert (unknown.exit_code, "'conv'" in unknown.output) == (2, True)
    assert not Path(out).exists()
