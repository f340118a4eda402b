"""What a real browser makes of the policy and the forms: nothing is blocked that should work, and the rest is."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from core.settings import Settings
from core.specs import Scope
from db import tokens
from db.models import Login
from db.session import make_engine, make_sessions
from tests.browser.conftest import serve
from tests.browser.seed import DONE, LIVE, SEARCH_DONE, SEARCH_WAITS, WITH_FAILURES, seed_gallery

pytestmark = pytest.mark.browser

NETWORK = "/networks/squeezenet1_0"
PAGES = (
    "/", "/networks", NETWORK, f"{NETWORK}/layers/classifier.4", f"{NETWORK}/layers/classifier.4/units/3",
    f"{NETWORK}?show=images", f"{NETWORK}/search?label=fish", f"/searches/{SEARCH_DONE}", f"/searches/{SEARCH_WAITS}",
    f"/atlases/{DONE}", f"/atlases/{WITH_FAILURES}", f"/atlases/{LIVE}", "/atlases", "/search?q=a", "/login",
    "/api/v1/docs", "/problems", "/nowhere", "/live",
)  # fmt: skip
WATCH = """
    window.violations = [];
    document.addEventListener(
        "securitypolicyviolation", (e) => window.violations.push(`${e.violatedDirective} ${e.blockedURI}`),
    );
"""


def open_page(chromium, address: str):
    """A page of a browser of its own that remembers what the policy blocked."""
    page = chromium.new_context().new_page()
    page.add_init_script(WATCH)
    page.goto(address)
    page.wait_for_load_state("load")
    return page


@pytest.mark.parametrize("path", PAGES)
def test_the_policy_blocks_nothing_of_ours(chromium, gallery: str, path: str) -> None:
    page = open_page(chromium, gallery + path)
    page.keyboard.press("t")  # the theme
    page.keyboard.press("?")  # the dialog with the keys
    assert page.evaluate("window.violations") == []
    page.context.close()


@pytest.mark.parametrize(
    ("intruder", "directive"),
    [
        ("const s = document.createElement('script'); s.textContent = 'window.hit = 1'; document.body.append(s)",
         "script-src-elem"),
        ("document.body.insertAdjacentHTML('beforeend', '<img src=/x onerror=\"window.hit = 1\">')", "script-src-attr"),
        ("const s = document.createElement('style'); s.textContent = 'a {}'; document.head.append(s)",
         "style-src-elem"),
        ("document.body.setAttribute('style', 'color: red')", "style-src-attr"),
        ("new Image().src = 'http://elsewhere.example/'", "img-src"),
        ("fetch('http://elsewhere.example/').catch(() => 0)", "connect-src"),
        ("const f = document.createElement('iframe'); f.src = '/'; document.body.append(f)", "frame-src"),
    ],
    ids=lambda value: value if "-src" in value else "",
)  # fmt: skip
def test_the_policy_blocks_the_rest(chromium, gallery: str, intruder: str, directive: str) -> None:
    page = open_page(chromium, f"{gallery}/networks")
    page.evaluate(f"() => {{ {intruder} }}")
    page.wait_for_function("window.violations.length > 0")
    assert page.evaluate("window.violations")[0].startswith(directive)
    assert page.evaluate("window.hit") is None
    page.context.close()


# --- logging in, over plain HTTP and a name that the browser does not trust ----------------------------------


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Settings]]:
    """The address and settings of a server that asks for tokens."""
    home = tmp_path_factory.mktemp("closed")
    settings = Settings(home=home, require_tokens=True, trusted_hosts="lab.example")
    seed_gallery(settings)
    for address in serve(settings):
        yield f"http://lab.example:{urlsplit(address).port}", settings


def make_token(settings: Settings, name: str, scope: Scope = Scope.SUBMIT) -> str:
    engine = make_engine(settings.resolved_database_url)
    with make_sessions(engine).begin() as session:
        made = tokens.make(session, name, scope)
    engine.dispose()
    return made


def logins(settings: Settings) -> int:
    engine = make_engine(settings.resolved_database_url)
    with make_sessions(engine)() as session:
        count = session.query(Login).count()
    engine.dispose()
    return count


def test_somebody_logs_in_asks_for_an_atlas_and_logs_out(chromium, closed: tuple[str, Settings]) -> None:
    address, settings = closed
    token = make_token(settings, "alice")
    page = open_page(chromium, f"{address}/networks")
    assert page.get_by_role("heading", name="Sign in").is_visible()
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/networks")
    page.goto(f"{address}/")
    page.get_by_label("Network", exact=True).fill("squeezenet1_0")
    page.get_by_label("Layers").fill("features.0")
    page.get_by_role("button", name="Make the atlas").click()
    page.wait_for_url("**/atlases/*")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{address}/login")
    assert logins(settings) == 0
    page.goto(f"{address}/networks")
    assert page.get_by_role("heading", name="Sign in").is_visible()
    page.context.close()


def test_another_site_logs_nobody_in_or_out(chromium, closed: tuple[str, Settings], tmp_path: Path) -> None:
    address, settings = closed
    token = make_token(settings, "mallory")
    page = open_page(chromium, f"{address}/login")
    page.context.route("http://evil.example/**", lambda route: route.fulfill(
        content_type="text/html",
        body=f"""<form method="post" action="{address}{urlsplit(route.request.url).path}">
                 <input name="token" value="{token}"><input name="form" value="guess"><button>Win</button></form>""",
    ))  # fmt: skip
    for path in ("/login", "/logout"):
        page.goto(f"http://evil.example{path}")
        page.get_by_role("button", name="Win").click()
        page.wait_for_url(f"{address}{path}")
        assert re.search("403", page.locator(".problem .code").inner_text())
        assert logins(settings) == 0
    page.context.close()
