"""The gallery in a real browser: what a visitor sees, reaches and waits for."""

import re

import pytest

from tests.browser.conftest import PHONE
from tests.browser.seed import (
    DEAD_UNITS,
    DONE,
    LAYERS,
    LIVE,
    NON_FINITE_UNIT,
    SEARCH_DONE,
    SEARCH_WAITS,
    UNPICTURED,
    WITH_FAILURES,
)

pytestmark = pytest.mark.browser

NETWORK = "/networks/squeezenet1_0"
CLASSES = f"{NETWORK}/layers/classifier.4"
BIG = f"{NETWORK}/layers/classifier.1"
PAGES = (
    "/",
    "/networks",
    NETWORK,
    "/networks/alexnet",
    f"{NETWORK}?recipe=bold",
    f"{NETWORK}/layers/features.0",
    CLASSES,
    f"{CLASSES}?q=lemon",
    f"{CLASSES}?q=nothing-like-it",
    f"{NETWORK}/layers/{UNPICTURED.name}",
    f"{CLASSES}/units/3",
    f"{CLASSES}/units/{DEAD_UNITS[0]}",
    f"{NETWORK}/layers/features.0/units/7?recipe=etched&seed=1",
    f"/atlases/{DONE}",
    f"/atlases/{WITH_FAILURES}",
    f"/atlases/{LIVE}",
    "/search?q=a",
    "/search",
    "/workers",
    "/live",
    f"{NETWORK}?show=images",
    f"{NETWORK}/layers/features.0?show=images&sort=selectivity",
    f"{NETWORK}/search?label=mushrooms",
    f"{NETWORK}/search?label=zebra",
    "/networks/alexnet/search",
    f"/searches/{SEARCH_DONE}",
    f"/searches/{SEARCH_WAITS}",
)


def test_home_lists_atlases_and_networks(visit):
    page, _ = visit("/")
    assert page.locator(".atlas-row").count() == 4
    assert page.get_by_text("In the making").count() == 1
    assert page.get_by_text("Complete, with failures").count() == 1
    assert page.get_by_role("heading", name="squeezenet1_0").count() >= 1
    assert page.locator(".mosaic img").count() > 10


def test_home_invites_when_there_is_nothing(visit, bare_gallery):
    page, _ = visit("/", base=bare_gallery)
    assert page.get_by_role("heading", name="No atlas yet").is_visible()
    assert "deepvis atlas demo" in page.locator(".command").first.inner_text()


def test_strips_show_every_layer_in_forward_order(visit):
    page, _ = visit(NETWORK)
    names = page.locator(".layer h2").all_inner_texts()
    assert names == [plan.name for plan in (*LAYERS, UNPICTURED)]
    assert page.locator(".strip").count() == len(LAYERS)


def test_style_switch_has_its_own_address(visit):
    page, _ = visit(NETWORK)
    page.get_by_role("navigation", name="Style").get_by_role("link", name="Bold strokes").click()
    assert "recipe=bold" in page.url
    current = page.get_by_role("navigation", name="Style").locator("[aria-current]")
    assert current.inner_text() == "Bold strokes"


def test_jump_navigation_reaches_a_layer(visit):
    page, _ = visit(NETWORK)
    page.get_by_role("navigation", name="Layers").get_by_role("link", name=re.compile("classifier.4")).click()
    assert page.locator("#layer-4").is_visible()
    assert page.url.endswith("#layer-4")


def test_big_layer_loads_sheets_as_they_come_into_view(visit):
    page, seen = visit(BIG)
    page.wait_for_load_state("networkidle")
    assert page.locator(".unit").count() == 4096
    at_first = len(set(seen.paths("/sheets/")))
    assert 1 <= at_first < 64
    assert seen.paths("/api/v1/pictures/") == []
    with page.expect_request("**/sheets/**"):
        page.locator(".unit").last.scroll_into_view_if_needed()
    assert at_first < len(set(seen.paths("/sheets/"))) <= 64


def test_thumbnails_show_their_own_tile(visit):
    page, _ = visit(f"{NETWORK}/layers/features.0?sort=activation")
    boxes = page.evaluate("""() => [...document.querySelectorAll('.unit img')].slice(0, 12).map((img) => {
        const box = img.parentElement.getBoundingClientRect(), inner = img.getBoundingClientRect();
        const name = (c) => Number([...img.classList].find((n) => n[0] === c).slice(1));
        return [Math.abs((box.left - inner.left) / box.width - name('c')),
                Math.abs((box.top - inner.top) / box.height - name('r')), Math.abs(inner.width / box.width - 8)];
    })""")
    assert len(boxes) == 12
    assert max(max(off) for off in boxes) < 0.02


def test_activation_order(visit):
    page, _ = visit(f"{NETWORK}/layers/features.0")
    page.get_by_role("navigation", name="Order").get_by_role("link", name="Strongest first").click()
    values = [float(t) for t in page.locator(".caption span:nth-child(2)").all_inner_texts()]
    assert values == sorted(values, reverse=True)


def test_dead_and_non_finite_units_are_said_in_words(visit):
    page, _ = visit(CLASSES)
    words = page.locator(".tile.empty").all_inner_texts()
    assert sorted(words) == ["dead"] * len(DEAD_UNITS) + ["not finite"]
    page.goto(page.url + f"/units/{DEAD_UNITS[0]}")
    assert page.get_by_text("its gradient is exactly zero").is_visible()
    page.goto(page.url.rsplit("/", 1)[0] + f"/{NON_FINITE_UNIT}")
    assert page.get_by_text("infinite or not a number").is_visible()


def test_class_filter(visit):
    page, _ = visit(CLASSES)
    page.keyboard.press("f")
    page.keyboard.type("lemon")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=lemon*")
    assert page.locator(".label").all_inner_texts() == ["lemon"]


def test_search_finds_a_class_from_anywhere(visit):
    page, _ = visit("/")
    page.keyboard.press("/")
    page.keyboard.type("tabby")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=tabby")
    page.locator(".found a").click()
    assert page.get_by_role("heading", level=1).inner_text().endswith("tabby, tabby cat")


def test_unit_arrows_go_to_neighbours(visit):
    page, _ = visit(f"{NETWORK}/layers/features.3.squeeze/units/7?recipe=bold&seed=1")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/features.3.squeeze/units/8?recipe=bold&seed=1")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/features.3.squeeze/units/7?recipe=bold&seed=1")
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**/features.6.expand3x3/units/7*")
    page.keyboard.press("ArrowUp")
    page.wait_for_url("**/features.3.squeeze/units/7*")


def test_unit_shows_five_styles_and_provenance(visit):
    page, _ = visit(f"{NETWORK}/layers/features.0/units/7")
    assert page.locator(".style h2").all_inner_texts() == [
        "Natural textures", "Bold strokes", "Fine etching", "Soft shapes", "Sparse highlights",
    ]  # fmt: skip
    assert page.locator(".start").count() == 3 * 5
    assert page.get_by_text("7 × 7 px, shown 48×").is_visible()
    terms = page.locator(".provenance dt").all_inner_texts()
    assert {"Weights", "Activation reached", "Best step", "Made with"} <= set(terms)


def test_small_pictures_are_enlarged_crisply(visit):
    page, _ = visit(f"{NETWORK}/layers/features.0/units/7")
    image = page.locator(".mat img")
    assert image.evaluate("i => getComputedStyle(i).imageRendering") == "pixelated"
    assert image.bounding_box()["width"] == 7 * 48


def test_download_has_a_name_that_says_what_it_is(visit):
    page, _ = visit(f"{NETWORK}/layers/features.0/units/7?recipe=bold&seed=2")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download PNG").click()
    assert waiting.value.suggested_filename == "squeezenet1_0_features.0_7_bold_2.png"


def test_help_lists_the_keys_of_the_page(visit):
    page, _ = visit(f"{NETWORK}/layers/features.0/units/7")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    assert dialog.is_visible()
    assert "next unit" in dialog.inner_text().lower()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_failures_are_named_with_reasons(visit):
    page, _ = visit(f"/atlases/{WITH_FAILURES}")
    row = page.locator("tbody tr")
    assert row.count() == 1
    assert "features.6.expand3x3" in row.inner_text()
    assert "96–127" in row.inner_text()
    assert "CUDA ran out of memory" in row.inner_text()
    assert page.get_by_role("button", name="Try the failed ones again").is_visible()


def test_progress_is_drawn_again_without_a_reload(visit):
    page, seen = visit(f"/atlases/{LIVE}")
    page.wait_for_timeout(3000)
    assert seen.paths(f"/atlases/{LIVE}").count(f"/atlases/{LIVE}") == 1
    assert len(seen.paths(f"/atlases/{LIVE}/live")) >= 1


def test_theme_is_chosen_and_kept(visit):
    page, _ = visit("/", color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Switch between dark and light").click()
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == light


@pytest.mark.parametrize("path", PAGES)
def test_every_page_fits_a_phone_and_names_its_parts(visit, path):
    page, _ = visit(path, size=PHONE)
    wide, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= room
    nameless = page.evaluate("""() =>
        [...document.querySelectorAll('a, button, input:not([type=hidden]), progress, nav')]
        .filter((e) => !e.closest('[aria-hidden=true], dialog:not([open])'))
        .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length
                         || [...e.querySelectorAll('img')].some((i) => i.alt)))
        .map((e) => e.outerHTML.slice(0, 120))""")
    assert nameless == []
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator("h1").count() == 1
    assert page.title().endswith("deepvis")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


def test_browsing_without_script(visit):
    page, _ = visit("/", java_script_enabled=False)
    assert not page.locator("#theme").is_visible()
    page.locator(".card h3 a").first.click()
    page.get_by_role("navigation", name="Style").get_by_role("link", name="Bold strokes").click()
    page.locator(".layer h2 a", has_text="classifier.4").click()
    page.locator(".unit").nth(3).click()
    assert page.get_by_role("heading", level=1).inner_text().endswith("hot-air balloon")
    page.get_by_role("link", name=re.compile("Next unit")).click()
    assert page.get_by_role("heading", level=1).inner_text().endswith("lemon")


@pytest.mark.parametrize(
    "path", ["/networks/squeezenet", f"{NETWORK}/layers/features.9", f"{CLASSES}/units/99", "/atlases/none", "/nowhere"]
)
def test_what_is_not_there_is_said_on_a_page_like_the_others(visit, path):
    page, _ = visit(path, faults=True)
    assert page.locator(".problem .code").inner_text() == "404"
    assert page.locator(".masthead").is_visible()


def test_an_atlas_is_asked_for_with_the_form(visit):
    page, _ = visit("/")
    page.get_by_label("Network", exact=True).fill("squeezenet1_0")
    page.get_by_label("Steps").fill("3")
    page.get_by_label("Layers").fill("features.0")
    page.get_by_role("button", name="Make the atlas").click()
    page.wait_for_url("**/atlases/*")
    assert page.get_by_text("Waiting for a worker").is_visible()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled").wait_for()


def test_a_wrong_wish_is_answered_beside_the_form(visit):
    page, _ = visit("/", faults=True)
    page.get_by_label("Network", exact=True).fill("squeezenet9")
    page.get_by_role("button", name="Make the atlas").click()
    page.locator(".answer.bad").wait_for()
    assert "squeezenet9" in page.locator(".answer").inner_text()


# --- workers -----------------------------------------------------------------------------


def test_workers_are_shown_with_what_they_do(visit):
    page, _ = visit("/")
    page.get_by_role("navigation", name="Site").get_by_role("link", name="Workers").click()
    alive = page.get_by_role("region", name="Workers that are alive").locator(".worker")
    assert alive.locator("h3").all_inner_texts() == ["gpu-box-01", "workstation"]
    first = alive.first
    assert "NVIDIA H100 80GB HBM3" in first.inner_text()
    assert first.get_by_role("progressbar").get_attribute("value") == "0.4"
    assert "412, 2 failed" in first.inner_text()
    assert "Waiting for work" in alive.last.inner_text()
    first.get_by_role("link", name="features.6.expand3x3").click()
    assert page.url.endswith("/layers/features.6.expand3x3")


def test_workers_that_went_are_greyed(visit):
    page, _ = visit("/workers")
    gone = page.get_by_role("region", name="Gone within the hour").locator(".worker.gone")
    stopped, silent = gone.locator(".state").all_inner_texts()
    assert re.fullmatch(r"Stopped \d+ minutes ago", stopped)
    assert re.fullmatch(r"Gone \d+ minutes ago", silent)
    lively = page.locator(".worker:not(.gone) h3").first
    assert colour(gone.locator("h3").first) != colour(lively)


def colour(element) -> str:
    return element.evaluate("e => getComputedStyle(e).color")


def test_the_queue_is_shown_by_device_and_priority(visit):
    page, _ = visit("/workers")
    assert page.locator(".queue tbody tr").all_inner_texts() == ["any device\tbatch\t7\t1"]


def test_the_workers_page_keeps_itself_fresh(visit):
    page, seen = visit("/workers")
    with page.expect_response("**/workers/live") as answer:
        pass
    assert answer.value.ok
    assert page.locator(".worker").count() == 4
    assert "/workers/live" in seen.paths()


@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, PHONE])
def test_the_workers_page_fits(visit, shots, size):
    page, _ = visit("/workers", size=size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    if shots:
        page.screenshot(path=shots / f"workers-{size['width']}.png", full_page=True)


def test_the_workers_page_without_script_asks_to_be_loaded_again(visit):
    page, seen = visit("/workers", java_script_enabled=False)
    assert page.locator(".worker").count() == 4
    assert page.locator("meta[http-equiv=refresh]").get_attribute("content") == "10"
    assert seen.paths("/workers/live") == []


def test_the_workers_page_of_an_empty_installation(visit, bare_gallery):
    page, _ = visit("/workers", base=bare_gallery)
    assert page.get_by_text("No worker is alive", exact=True).is_visible()
    assert page.get_by_text("Nothing waits.").is_visible()
