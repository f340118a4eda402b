"""Live activations through everything: a browser's made-up camera, the web server, Redis, a live worker, the screen.

What a frame takes is counted from the moment at which the page takes it from the camera to the first repaint after its
tiles are drawn. The stages are the worker's own: waiting for it, the network, the way back, encoding.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx

from bench.service import installation
from bench.timing import heading

if TYPE_CHECKING:
    from playwright.sync_api import Page

NETWORK = "squeezenet1_0@random"
SECONDS = 10.0
_PATIENCE_SECONDS = 300
_FLAGS = ("--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
_VIEWS: dict[str, dict[str, str]] = {
    "tiles of features.0 (96 of 109 x 109) and classes": {"layer": "features.0"},
    "tiles of features.7.expand3x3 (192 of 27 x 27) and classes": {"layer": "features.7.expand3x3"},
    "the same with the gradient": {"layer": "features.7.expand3x3", "backward": "gradient"},
    "the same with the gradient, also in the grid": {
        "layer": "features.7.expand3x3",
        "backward": "gradient",
        "in_grid": "true",
        "from_layer": "classifier.1",
    },
    "the same with the guided view": {"layer": "features.7.expand3x3", "backward": "guided"},
}
_RECORD = """() => {
    window.seen = [];
    document.querySelector("#live").addEventListener("frame", ({ detail }) => requestAnimationFrame(() =>
        window.seen.push({ at: performance.now(), delay: performance.now() - detail.began, ...detail.seconds })));
}"""


def run(network: str = NETWORK) -> None:
    """Prints frames a second and percentiles of what a frame takes, for each view."""
    from playwright.sync_api import sync_playwright

    heading(f"Live: {network}, {SECONDS:.0f} s of a made-up camera for each view")
    with tempfile.TemporaryDirectory() as home, installation(Path(home)) as api, sync_playwright() as playwright:
        _describe(api, network)
        browser = playwright.chromium.launch(executable_path=_chromium(), args=list(_FLAGS))
        for words, view in _VIEWS.items():
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(
                f"{api.base_url}/live?{urlencode({'network': network, 'source': 'camera', 'grow': 'false', **view})}"
            )
            print(f"{words}\n    {_measured(page)}")
            page.close()
        browser.close()


def _measured(page: "Page") -> str:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while int(page.get_attribute("#live", "data-frames") or 0) < 5:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no frames came: {page.inner_text('#said')}")
        page.wait_for_timeout(200)
    page.evaluate(_RECORD)
    page.wait_for_timeout(1000 * SECONDS)
    return summary(page.evaluate("window.seen"))


def summary(seen: Sequence[dict[str, Any]]) -> str:
    """Frames a second, percentiles of the delay in ms, medians of the worker's stages in ms."""
    rate = (len(seen) - 1) / (seen[-1]["at"] - seen[0]["at"]) * 1000
    parts = statistics.quantiles([frame["delay"] for frame in seen], n=100)
    delays = ", ".join(f"p{percent} {parts[percent - 1]:.0f}" for percent in (50, 90, 99))
    stages = ", ".join(
        f"{stage} {1000 * statistics.median(frame[stage] for frame in seen):.0f}"
        for stage in ("wait", "compute", "backward", "encode")
    )
    return f"{rate:.1f} frames a second; ms from camera to screen: {delays}; in the worker: {stages}"


def _describe(api: httpx.Client, network: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not api.get(f"/api/v1/networks/{network}/layers").is_success:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{network} was not described")
        time.sleep(1)


def _chromium() -> str:
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )
    if not found:
        raise RuntimeError("Chromium is not installed: apt install chromium")
    return found
