"""Live activations in a real browser with its made-up camera, a real live worker and Redis behind the page."""

import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import DESKTOP, FLAGS, find_chromium, serve
from tests.live import know_demo, live_worker, picture
from tests.services import Installation, Worker, running_redis, wait_until

pytestmark = pytest.mark.browser
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
GRID = "document.querySelector('#grid').toDataURL()"
VIEW = "network=demo&layer=conv2"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with running_redis() as redis:
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


@pytest.fixture(scope="module")
def browser(chromium):
    """Its camera shows a pie that turns, and nobody is asked."""
    made = chromium.browser_type.launch(executable_path=find_chromium(), args=[*FLAGS, *CAMERA])
    yield made
    made.close()


@pytest.fixture
def page(browser, url: str, worker: Worker):
    """The page, which looks through the camera."""
    made = browser.new_page(viewport=DESKTOP)
    made.complaints = []
    made.on("pageerror", lambda error: made.complaints.append(str(error)))
    made.goto(f"{url}/live?{VIEW}&source=camera")
    wait_frames(made, 1)
    yield made
    made.close()
    assert made.complaints == []


def frames(page) -> int:
    return int(page.get_attribute("#live", "data-frames") or 0)


def wait_frames(page, more: int, seconds: float = 30) -> None:
    least = frames(page) + more
    wait_until(lambda: frames(page) >= least, seconds, f"{more} frames more ({page.inner_text('#said')})")


def asked(page) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}


def said(page, words: str, seconds: float = 20) -> None:
    wait_until(lambda: words in page.inner_text("#said"), seconds, f"the words {words!r}")


def test_frames_arrive_and_tiles_change(page) -> None:
    first = page.evaluate(GRID)
    wait_frames(page, 5)
    assert page.evaluate(GRID) != first
    assert page.locator("#classes li").count() == 5
    assert page.locator("#classes output").first.inner_text().endswith("%")
    assert page.get_by_role("img", name="A tile for every unit").is_visible()


def test_keys(page) -> None:
    for keys, told in (
        (["ArrowRight", "l"], {"unit": "2"}),
        (["ArrowDown"], {"unit": "8"}),
        (["Shift+ArrowRight"], {"unit": "16"}),
        (["o"], {"layer": "norm2"}),
        (["o", "u", "u"], {"layer": "conv2"}),
        (["x"], {"side": "before"}),
        (["p"], {"gamma": "0.7"}),
        (["g"], {"per_channel": "0.5"}),
        (["8"], {"labels": "false"}),
        (["z"], {"zoom": "true"}),
        (["b", "b"], {"backward": "deconvolution"}),
        ([","], {"shown_as": "raw"}),
        (["d"], {"from_layer": "conv2", "from_unit": "16"}),
        (["n"], {"in_grid": "true"}),
    ):
        for key in keys:
            page.keyboard.press(key)
        wait_until(lambda told=told: asked(page).items() >= told.items(), what=f"{told} in the address")
    wait_frames(page, 2)
    assert page.locator("#backward").is_visible()
    assert page.locator("#classes li").count() == 5  # as they were when the labels went
    page.keyboard.press("?")
    assert page.locator("#help dt").count() > 20


def test_a_frozen_frame_stands_still(page) -> None:
    page.keyboard.press("f")
    wait_frames(page, 1)
    still = page.evaluate(GRID)
    page.wait_for_timeout(400)
    assert page.evaluate(GRID) == still
    page.keyboard.press("x")  # what is asked of it may change
    wait_until(lambda: page.evaluate(GRID) != still, what="other tiles")
    page.keyboard.press("f")
    wait_frames(page, 3)


def test_a_click_chooses_a_unit_and_a_shared_address_shows_the_same(page, browser, url: str) -> None:
    wait_frames(page, 2)

    def unit_8() -> bool:
        # Again where need be: what arrives beside the grid may move it between the look and the click.
        box = page.locator("#grid").bounding_box()
        page.mouse.click(box["x"] + box["width"] * 2.5 / 6, box["y"] + box["height"] * 1.5 / 6)
        return asked(page).get("unit") == "8"

    wait_until(unit_8, what="unit 8 in the address")
    other = browser.new_page()
    other.goto(page.url)
    wait_frames(other, 1)
    assert other.locator("#unit-name").inner_text() == "conv2:8"
    other.close()


def test_closing_the_page_frees_the_worker(browser, url: str, worker: Worker) -> None:
    before = worker.log.count(": no longer served")
    page = browser.new_page()
    page.goto(f"{url}/live?{VIEW}&source=camera")
    wait_frames(page, 1)
    page.close()
    wait_until(lambda: worker.log.count(": no longer served") > before, 25, "a free worker")


def test_a_worker_that_dies_is_told_of_and_another_goes_on(page, worker: Worker) -> None:
    os.kill(worker.children()[-1], signal.SIGKILL)
    said(page, "live worker")
    wait_frames(page, 3, 60)
    wait_until(lambda: not page.inner_text("#said"), what="an end of the words")


def test_a_camera_that_is_refused(chromium, url: str) -> None:
    page = chromium.new_page()
    page.goto(f"{url}/live?{VIEW}&source=camera")
    said(page, "camera")
    assert "Open a picture or a video instead" in page.inner_text("#said")
    page.close()


def test_pictures_broken_and_whole(chromium, url: str, worker: Worker, tmp_path: Path) -> None:
    page = chromium.new_page()
    page.goto(f"{url}/live?{VIEW}")
    said(page, "Choose the camera")
    files = [tmp_path / name for name in ("broken.png", "one.jpg", "two.jpg")]
    for path, data in zip(files, (b"\x89PNG\r\n", picture(), picture(shift=12)), strict=True):
        path.write_bytes(data)
    page.set_input_files("#files", files)
    said(page, "broken.png is no picture")
    page.keyboard.press("e")
    wait_frames(page, 1)
    first = page.evaluate(GRID)
    assert page.inner_text("#source-name") == "one.jpg"
    page.keyboard.press("e")
    wait_frames(page, 1)
    assert page.evaluate(GRID) != first
    page.keyboard.press("w")
    wait_until(lambda: page.evaluate(GRID) == first, what="the first picture's tiles")
    page.close()


def test_a_video_is_played_and_a_broken_one_told_of(chromium, url: str, worker: Worker, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    whole, broken = tmp_path / "disc.webm", tmp_path / "broken.webm"
    with av.open(whole, "w") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width = stream.height = 64
        for shift in range(20):
            frame = av.VideoFrame.from_image(Image.open(io.BytesIO(picture(shift))))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    broken.write_bytes(np.random.default_rng(0).bytes(2000))
    page = chromium.new_page()
    page.goto(f"{url}/live?{VIEW}")
    page.set_input_files("#files", broken)
    said(page, "no video that this browser can play")
    page.set_input_files("#files", whole)
    wait_frames(page, 1)
    first = page.evaluate(GRID)
    wait_frames(page, 4)
    assert page.evaluate(GRID) != first
    page.close()


def test_a_network_that_is_gone(chromium, url: str) -> None:
    page = chromium.new_page()
    page.goto(f"{url}/live?network=gone")
    said(page, "There is no network named gone")
    page.close()


def test_a_picture_of_a_hundred_megapixels_is_scaled_down(chromium, url: str, worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(picture(size=(10_000, 10_000), kind="PNG"))
    page = chromium.new_page()
    page.goto(f"{url}/live?{VIEW}")
    page.set_input_files("#files", path)
    wait_until(lambda: frames(page) or "too large" in page.inner_text("#said"), 60, "a frame, or words")
    page.close()
