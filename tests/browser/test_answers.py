"""Real images in a real browser: crops show their own part, whole images open, searches work without script too."""

import io
import json

import pytest
from PIL import Image

from tests import answers
from tests.browser.conftest import PHONE
from tests.browser.seed import SEARCH_DONE, SEARCH_WAITS

pytestmark = pytest.mark.browser

NETWORK = "/networks/squeezenet1_0"
LAYER = f"{NETWORK}/layers/features.6.expand3x3"
UNIT = f"{LAYER}/units/6"
SIDE = 47
PLAIN = {"java_script_enabled": False}


def picture(number: int = 3) -> dict[str, object]:
    """A file to be chosen."""
    image, _ = answers.scenes()[number]
    return {"name": "scene.png", "mimeType": "image/png", "buffer": answers.encode(image, "PNG")}


def test_nine_crops_over_their_views(visit) -> None:
    page, seen = visit(UNIT)
    page.wait_for_load_state("networkidle")
    row = page.locator(".images").first
    assert row.locator("li").count() == answers.TOP
    assert row.locator("svg").count() == answers.TOP * 3
    assert page.get_by_text("Guided backpropagation is not defined").is_visible()
    assert len(set(seen.paths("/views/"))) == 6  # one picture for all crops of an end, and for each kind of view


def test_every_crop_shows_its_own_part(visit) -> None:
    """The third crop on the page is the third tile of its picture, to the pixel."""
    page, _ = visit(UNIT, reduced_motion="reduce")
    page.wait_for_load_state("networkidle")
    tile = page.locator(".images li:nth-child(3) a.cut svg").first
    address = tile.locator("image").get_attribute("href")
    whole = Image.open(io.BytesIO(page.request.get(page.url.partition("/networks")[0] + address).body()))
    shown = Image.open(io.BytesIO(tile.screenshot())).convert("RGB")
    wanted = whole.convert("RGB").crop((2 * SIDE, 0, 3 * SIDE, SIDE)).resize(shown.size, Image.Resampling.NEAREST)
    middle = (8, 8, shown.width - 8, shown.height - 8)
    assert difference(shown.crop(middle), wanted.crop(middle)) < 12
    other = whole.convert("RGB").crop((0, 0, SIDE, SIDE)).resize(shown.size)
    assert difference(shown.crop(middle), other.crop(middle)) > 25


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean over pixels and channels."""
    pairs = zip(one.tobytes(), other.tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / len(one.tobytes())


@pytest.mark.parametrize("context", [{}, PLAIN], ids=["script", "plain"])
def test_a_crop_leads_to_its_whole_image(visit, context: dict[str, object]) -> None:
    page, _ = visit(UNIT, faults=True, **context)
    page.locator(".images li:nth-child(2) a.cut").first.click()
    page.wait_for_url("**open=top-1#whole")
    whole = page.locator("#whole")
    assert whole.is_visible()
    name = page.locator(".images li:nth-child(2) .file").first.get_attribute("title")
    assert whole.locator("code").inner_text() == name
    assert whole.locator("rect").count() == 2
    page.get_by_role("link", name="Close").click()
    page.wait_for_url("**#real")
    assert page.locator("#whole").count() == 0


def test_the_histogram_is_drawn_and_told(visit) -> None:
    page, _ = visit(UNIT)
    chart = page.get_by_role("img", name="Histogram of the unit's answers")
    box = chart.bounding_box()
    assert box["width"] > 1000
    bars = chart.locator("rect").count()
    assert bars > 3
    assert chart.locator("text.made").count() == 5
    page.get_by_text("The same as a table").click()
    assert page.locator(".answers tbody tr").count() == bars
    counts = [int(t) for t in page.locator(".answers tbody td:nth-child(2)").all_inner_texts()]
    assert sum(counts) == answers.IMAGES
    assert page.get_by_text("times the highest real image").count() >= 1


def test_the_chart_fits_a_phone(visit) -> None:
    page, _ = visit(UNIT, size=PHONE)
    boxes = page.locator(".chart text").evaluate_all("all => all.map(t => t.getBoundingClientRect().toJSON())")
    assert len(boxes) > 5
    assert all(box["left"] >= -1 and box["right"] <= PHONE["width"] + 1 for box in boxes), json.dumps(boxes)


def test_similar_units_and_labels_lead_on(visit) -> None:
    page, _ = visit(UNIT)
    address = page.locator(".alike a").first.get_attribute("href")
    page.locator(".alike a").first.click()
    page.wait_for_url(f"**{address}")
    page.go_back()
    page.locator(".bars a").first.click()
    page.wait_for_url("**/search?label=*")
    assert page.locator(".found li").count() > 5


def test_a_layer_switches_to_top_images_and_orders_them(visit) -> None:
    page, _ = visit(LAYER)
    page.get_by_role("link", name="Top images").click()
    page.wait_for_url("**show=images*")
    page.get_by_role("link", name="Most selective").click()
    page.wait_for_url("**sort=selectivity*")
    told = page.locator(".caption span:nth-child(2)").all_text_contents()  # also of what is not drawn yet
    shares = [float(words.removesuffix(" %")) for words in told]
    assert shares == sorted(shares, reverse=True)
    page.get_by_role("link", name="Dead units first").click()
    page.wait_for_url("**sort=dead*")
    first = page.locator(".unit").first
    assert int(first.locator(".caption span").first.inner_text()) % answers.WAYS == answers.DEAD
    page.get_by_role("link", name="Preferred pictures").click()
    page.wait_for_url(lambda url: "show=" not in url)
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**/layers/classifier.1*")


def test_a_network_is_searched_by_label(visit) -> None:
    page, _ = visit(NETWORK)
    page.keyboard.press("l")
    page.keyboard.type("mushrooms")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?label=mushrooms")
    assert page.get_by_role("heading", level=1).inner_text() == "Units that like “mushrooms”"
    page.goto(page.url.replace("mushrooms", "zebra"))
    assert page.get_by_text("No label of drawn-scenes").is_visible()


@pytest.mark.parametrize("context", [{}, PLAIN], ids=["script", "plain"])
def test_a_picture_is_sent_by_the_form(visit, context: dict[str, object]) -> None:
    page, _ = visit(NETWORK, faults=bool(context), **context)
    page.set_input_files("#picture", files=[picture()])
    page.get_by_role("button", name="Send it").click()
    page.wait_for_url("**/searches/*")
    assert page.get_by_role("heading", name="It waits for a worker").is_visible()


def test_a_picture_is_dropped(visit) -> None:
    page, _ = visit(NETWORK)
    data = list(picture()["buffer"])
    page.evaluate(
        """(data) => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(data)], "scene.png", {type: "image/png"}));
            const drop = new DragEvent("drop", {dataTransfer: carried, bubbles: true});
            document.querySelector(".drop").dispatchEvent(drop);
        }""",
        data,
    )
    page.wait_for_url("**/searches/*")


def test_what_is_no_picture_is_refused_on_a_page(visit) -> None:
    page, _ = visit(NETWORK, faults=True)
    page.set_input_files("#picture", files=[{"name": "x.png", "mimeType": "image/png", "buffer": b"nothing"}])
    page.get_by_role("button", name="Send it").click()
    assert page.get_by_text("no picture of a known format").is_visible()


def test_a_search_that_waits_asks_again_by_itself(visit) -> None:
    page, _ = visit(f"/searches/{SEARCH_WAITS}")
    with page.expect_request(f"**/searches/{SEARCH_WAITS}/live", timeout=8000):
        pass


def test_what_a_picture_excites(visit) -> None:
    page, _ = visit(f"/searches/{SEARCH_DONE}")
    found = page.locator(".found li")
    assert found.count() >= 5
    assert "above 99.9 % of the images" in found.first.inner_text()
    found.first.locator("a").click()
    page.wait_for_url("**/layers/features.0/units/3*")
