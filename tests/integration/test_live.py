"""Live sessions: a real web server, a real live worker, Redis between them, and viewers that ask as the page does."""

import io
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import redis as redis_client
from PIL import Image

from broker.app import make_celery
from broker.live import CLAIM_SECONDS, LiveSessions, connect, frames_of
from broker.live_serving import LOOK_SECONDS, Inbox
from broker.packets import pack, unpack
from core.errors import BadSetting
from core.settings import Settings
from tests.browser.conftest import serve
from tests.live import Viewer, know_demo, live_worker, picture, problem
from tests.services import Installation, Redis, Worker, wait_until

pytestmark = pytest.mark.integration
VIEWERS = 10


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, redis: Redis) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("live"), redis.url)
    know_demo(made)
    yield made
    made.close()


@pytest.fixture(scope="module")
def url(installation: Installation) -> Iterator[str]:
    yield from serve(installation.settings)


@pytest.fixture(scope="module")
def worker(installation: Installation) -> Iterator[Worker]:
    with live_worker(installation) as process:
        yield process.wait_ready()


@pytest.fixture
def viewer(url: str, worker: Worker) -> Iterator[Viewer]:
    made = Viewer(url)
    yield made
    made.close()


def test_a_frame_comes_back_as_tiles_classes_and_the_unit(viewer: Viewer) -> None:
    header, parts = viewer.look(unit=3)
    assert header["grid"] == {"columns": 6, "rows": 6, "units": 32}
    assert [round(c["probability"], 2) for c in header["top"]] == sorted(
        (round(c["probability"], 2) for c in header["top"]), reverse=True
    )
    assert header["unit"]["unit"] == 3
    assert Image.open(io.BytesIO(parts["grid"])).size == (198, 198)
    assert Image.open(io.BytesIO(parts["unit"])).size == (32, 32)
    moved, other = viewer.look(picture(shift=12))
    assert other["grid"] != parts["grid"]
    assert moved["frame"] != header["frame"]


def test_only_what_is_on_screen_is_sent(viewer: Viewer) -> None:
    header, parts = viewer.look(layer="", top=0)
    assert not parts
    assert "top" not in header


@pytest.mark.parametrize(
    ("data", "view", "kind"),
    [
        (b"no picture", {}, "bad-picture"),
        (picture()[:300], {}, "bad-picture"),
        (picture(size=(10_000, 10_000), kind="PNG"), {}, "bad-picture"),  # few bytes, as it is of one colour
        (b"", {}, "bad-picture"),
        (picture(), {"layer": "conv9"}, "unknown-layer"),
        (picture(), {"unit": 32}, "unit-out-of-range"),
        (picture(), {"gamma": 0}, "invalid-request"),
    ],
    ids=["text", "half", "100 megapixels", "nothing", "layer", "unit", "gamma"],
)
def test_what_cannot_be_shown_is_told_and_the_next_frame_works(
    viewer: Viewer, data: bytes, view: dict[str, object], kind: str
) -> None:
    viewer.look()
    answer = viewer.send(data, **view)
    assert answer.status_code == 422
    assert problem(answer) == kind
    assert viewer.send(picture()).status_code == 200


def test_a_network_that_is_not_there(viewer: Viewer) -> None:
    answer = viewer.client.post("/api/v1/live", json={"network": "gone"})
    assert (answer.status_code, problem(answer)) == (404, "unknown-network")


def test_closing_frees_the_worker_and_leaves_nothing_in_redis(url: str, worker: Worker, redis: Redis) -> None:
    viewer = Viewer(url)
    viewer.look()
    viewer.close()
    wait_until(lambda: f"{viewer.id} of demo: no longer served" in worker.log, 5, "a free worker")
    wait_until(lambda: not _keys(redis), 5, "a Redis without live sessions")
    assert viewer_is_gone(url, viewer)


def viewer_is_gone(url: str, viewer: Viewer) -> bool:
    again = Viewer(url)
    answer = again.client.post(viewer.frames, content=picture(), headers={"Content-Type": "image/jpeg"})
    again.close()
    return (answer.status_code, problem(answer)) == (404, "not-found")


def _keys(redis: Redis) -> list[str]:
    """What is kept of live sessions."""
    with redis_client.Redis(port=redis.port) as client:
        return [key.decode() for key in client.keys("deepvis:live:*")]


def test_ten_viewers_share_one_worker_fairly(url: str, worker: Worker) -> None:
    counts, until = [0] * VIEWERS, threading.Event()
    viewers = [Viewer(url) for _ in range(VIEWERS)]
    for viewer in viewers:
        viewer.look()

    def watch(number: int) -> None:
        while not until.is_set():
            counts[number] += viewers[number].send(picture(shift=number)).status_code == 200

    threads = [threading.Thread(target=watch, args=(number,)) for number in range(VIEWERS)]
    for thread in threads:
        thread.start()
    time.sleep(3)
    until.set()
    for thread in threads:
        thread.join()
    for viewer in viewers:
        viewer.close()
    assert min(counts) >= 3
    assert max(counts) <= 2 * min(counts)


def test_a_process_killed_in_mid_stream_is_replaced(viewer: Viewer, worker: Worker) -> None:
    viewer.look()
    killed = worker.children()[-1]
    os.kill(killed, signal.SIGKILL)
    answer = viewer.send(picture())
    assert (answer.status_code, problem(answer)) in [(503, "no-live-worker"), (503, "not-ready")]
    viewer.look()
    assert worker.children()[-1] != killed


@pytest.fixture
def client(redis: Redis) -> Iterator[redis_client.Redis]:
    """Of a database of its own, in which no worker process looks for sessions."""
    with connect(Settings(live_url=redis.url.removesuffix("0") + "1")) as made:
        yield made


def test_one_worker_serves_a_session_and_another_takes_it_over(client: redis_client.Redis) -> None:
    sessions = LiveSessions(client)
    session = sessions.open("demo", "local")
    assert sessions.claim(session.id, "one that died")
    claimed = time.monotonic()
    with Inbox(client, "second") as second, Inbox(client, "third") as third:
        wait_until(lambda: second.viewers or third.viewers, CLAIM_SECONDS + 5, "somebody who serves")
        assert time.monotonic() - claimed > CLAIM_SECONDS / 2
        time.sleep(2 * LOOK_SECONDS)
        assert len(second.viewers) + len(third.viewers) == 1
        sessions.close(session.id)
        wait_until(lambda: not second.viewers and not third.viewers, 5, "an end")


def test_of_a_viewers_frames_the_latest_wins_and_viewers_take_turns(client: redis_client.Redis) -> None:
    sessions = LiveSessions(client)
    first, second = (sessions.open("demo", "local") for _ in range(2))
    with Inbox(client, "worker") as inbox:
        wait_until(lambda: len(inbox.viewers) == 2, 5, "both served")
        for number, session in enumerate([first, first, first, second]):
            header = {"frame": str(number), "reply": "nobody", "view": {}}
            client.publish(frames_of(session.id), pack(header, {"picture": b""}))
        time.sleep(0.5)
        taken = [inbox.take(0.1) for _ in range(3)]
        assert sorted(asked.frame for asked in taken if asked) == ["2", "3"]
        for session in (first, second):
            sessions.close(session.id)


def test_live_needs_a_redis(installation: Installation) -> None:
    rabbit = Settings(home=installation.settings.home, broker_url="amqp://guest@127.0.0.1//")
    with pytest.raises(BadSetting, match="broker is none"):
        connect(rabbit)
    connect(rabbit.model_copy(update={"live_url": installation.settings.broker_url})).close()
    assert make_celery(rabbit).conf.task_queues


def test_packets() -> None:
    header, parts = unpack(pack({"a": 1}, {"x": b"123", "y": b""}))
    assert header == {"a": 1, "parts": [{"name": "x", "bytes": 3}, {"name": "y", "bytes": 0}]}
    assert parts == {"x": b"123", "y": b""}
