"""A seeded gallery behind a real web server, and a real headless browser in front of it."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from werkzeug.serving import make_server

from api import create_app
from core.settings import Settings
from tests.browser.seed import seed_gallery

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP *.example 127.0.0.1",  # names that a browser trusts no more than those of other machines
)  # fmt: skip


def absent(what: str) -> None:
    """Skip for want of a part; in CI a missing part is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must have it.")
    pytest.skip(f"{what} is missing.")


def find_chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        absent("Chromium")
    return path


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server over the seeded gallery."""
    settings = Settings(home=tmp_path_factory.mktemp("gallery"))
    seed_gallery(settings)
    yield from serve(settings)


@pytest.fixture(scope="session")
def bare_gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server over an installation that has made nothing yet."""
    from db.migrate import upgrade

    settings = Settings(home=tmp_path_factory.mktemp("bare"))
    upgrade(settings.resolved_database_url)
    yield from serve(settings)


def serve(settings: Settings) -> Iterator[str]:
    app = create_app(settings)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()
    if "deepvis.live" in app.extensions:
        app.extensions["deepvis.live"].asker.close()
    app.extensions["deepvis"].sessions.kw["bind"].dispose()


@pytest.fixture(scope="session")
def chromium():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("Playwright for Python")
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Seen:
    """What a page asked for and complained about."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def paths(self, start: str = "/") -> list[str]:
        return [path for url in self.requests if (path := urlsplit(url).path).startswith(start)]


@pytest.fixture
def visit(chromium, gallery: str, request: pytest.FixtureRequest) -> Iterator[Callable]:
    """Open a page of the gallery: `page, seen = visit("/networks", size=PHONE)`.

    At the end of a test no page may have complained, nor asked another server.
    """
    contexts, everything = [], []

    def open_page(path: str, *, size: dict[str, int] = DESKTOP, base: str = gallery, faults: bool = False, **context):
        made = chromium.new_context(viewport=size, **context)
        contexts.append(made)
        page, seen = made.new_page(), Seen()
        page.on("request", lambda r: seen.requests.append(r.url))
        page.on("pageerror", lambda e: seen.complaints.append(str(e)))
        page.on("console", lambda m: m.type in ("error", "warning") and seen.complaints.append(m.text))
        if not faults:
            everything.append((base, seen))
        page.goto(base + path)
        return page, seen

    yield open_page
    for made in contexts:
        made.close()
    for base, seen in everything:
        assert seen.complaints == []
        assert [url for url in seen.requests if not url.startswith(base) and not url.startswith("data:")] == []


@pytest.fixture
def shots() -> Path | None:
    """The folder that screenshots are wanted in, if any (for whoever changes the design)."""
    wanted = os.environ.get("DEEPVIS_TEST_SHOTS")
    return Path(wanted) if wanted else None
