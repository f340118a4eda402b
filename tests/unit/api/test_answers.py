"""What units answer to in real images: REST and the pages."""

import re
from html import unescape

import pytest

from core.specs import BackwardKind
from db.models import Network
from db.probe_models import UnitView
from db.queries.passes import PassItem
from tests import answers
from tests.integration import records
from tests.unit.api.conftest import Front, Pictured, problem
from tests.unit.api.test_policy import ELSEWHERE, INLINE

LAYER = "/networks/tiny/layers/conv"
UNIT = f"{LAYER}/units/1"
API = "/api/v1"
WHY = "Guided backpropagation is not defined for the module GELU."


@pytest.fixture
def seeded(front: Front) -> answers.Seeded:
    """A pass of "tiny" over a probe set."""
    with front.services.sessions.begin() as session:
        network = session.query(Network).filter_by(name="tiny").one()
        set_id = answers.add_set(session, front.services.store)
        return answers.add_pass(
            session, front.services.store, network, network.layers, set_id, lowest=True, undefined=WHY
        )


# --- REST --------------------------------------------------------------------------------------------


def test_without_a_pass_every_address_says_the_command(front: Front) -> None:
    for path in (f"{LAYER}/answers", f"{UNIT}/answers", "/networks/tiny/search?label=dog"):
        document = problem(front.client.get(API + path), 409, "conflict")
        assert "deepvis probe run tiny SET --wait" in document["remedy"]
    assert front.client.get(f"{API}/networks/tiny/passes").json == {"items": []}


def test_a_unit_and_its_views(front: Front, seeded: answers.Seeded) -> None:
    found = front.client.get(f"{API}{UNIT}/answers").json
    assert found["address"] == "conv:1"
    assert len(found["images"]) == 2 * answers.TOP
    assert found["labels"][0]["label"] == answers.LABELS[1]
    assert sum(b["count"] for b in found["histogram"]) == found["probe"]["images"] == answers.IMAGES
    assert found["images"][0]["links"]["file"].startswith(f"{API}/probe-sets/{seeded.set_id}/images/")
    for view in found["views"]:
        if view["kind"] == BackwardKind.GUIDED:
            assert (view["blob"], view["why"], view["links"]) == (None, WHY, {})
            continue
        file = front.client.get(view["links"]["file"])
        assert (file.status_code, file.content_type) == (200, "image/webp")
        assert "immutable" in file.headers["Cache-Control"]
        again = front.client.get(view["links"]["file"], headers={"If-None-Match": file.headers["ETag"]})
        assert again.status_code == 304


def test_views_are_only_views(front: Front, seeded: answers.Seeded, pictured: Pictured) -> None:
    png = front.services.store.put(pictured.png)
    for key in (png, "0" * 64, "nothing"):
        problem(front.client.get(f"/views/{key}.webp"), 404, "not-found")


def test_a_layer_is_paged_in_every_order(front: Front, seeded: answers.Seeded) -> None:
    for sort in ("unit", "highest", "selectivity", "sparseness", "dead"):
        first = front.client.get(f"{API}{LAYER}/answers?sort={sort}&limit=4")
        (following,) = re.findall(r"<([^>]+)>; rel=\"next\"", first.headers["Link"])
        items = first.json["items"] + front.client.get(following).json["items"]
        assert sorted(item["unit"] for item in items) == list(range(6))
        assert {"answers", "unit", "sheet"} == set(items[0]["links"])
        assert front.client.get(items[0]["links"]["answers"]).status_code == 200
    problem(front.client.get(f"{API}{LAYER}/answers?sort=size"), 422, "invalid-request")


def test_a_set_that_it_was_not_run_on(front: Front, seeded: answers.Seeded) -> None:
    document = problem(front.client.get(f"{API}{UNIT}/answers?set=drawn-scene"), 404, "not-found")
    assert answers.SET in document["remedy"]
    assert [PassItem.model_validate(i).set for i in front.client.get(f"{API}/networks/tiny/passes").json["items"]] == [
        answers.SET
    ]


# --- the unit page -----------------------------------------------------------------------------------


def test_the_unit_page_shows_nine_crops_with_their_views(front: Front, seeded: answers.Seeded) -> None:
    page = front.client.get(UNIT).text
    tiles = re.findall(r'<svg class="crisp" viewBox="(\d+) (\d+) (\d+) (\d+)"[^>]*><image href="(/views/[^"]+)"', page)
    assert len(tiles) == 2 * answers.TOP * 3  # both ends; a crop and the two views that are defined
    assert len({(x, href) for x, *_, href in tiles}) == len(tiles)
    assert WHY in page
    assert "Guided</li>" not in page
    assert "No preferred pictures of this unit yet" in page
    assert "What it answers to least" in page


def test_the_whole_image_is_opened_by_the_address(front: Front, seeded: answers.Seeded) -> None:
    page = front.client.get(UNIT).text
    assert 'id="whole"' not in page
    links = [unescape(each) for each in re.findall(r'class="cut" href="([^"]+)"', page)]
    assert len(links) == 2 * answers.TOP
    opened = front.client.get(links[4]).text
    assert f"/api/v1/probe-sets/{seeded.set_id}/images/" in opened
    assert opened.count('<rect class="halo"') == 1
    assert front.client.get(f"{UNIT}?open=top-99").status_code == 200
    assert 'id="whole"' not in front.client.get(f"{UNIT}?open=<x>").text


def test_a_unit_with_pictures_and_no_pass_says_how_to_get_one(front: Front, pictured: Pictured) -> None:
    page = front.client.get(f"{LAYER}/units/0").text
    assert "deepvis probe run tiny SET --wait" in page
    assert "Natural textures" in page


def test_how_far_a_picture_goes_beyond_real_images_is_said(
    front: Front, pictured: Pictured, seeded: answers.Seeded
) -> None:
    highest = float(answers.answers_of(0, 0).max())
    with front.services.sessions.begin() as session:
        rows = [records.picture(2, activation=2.3 * answers.answers_of(0, 2).max())]
        records.store(session, "conv", rows)
    page = front.client.get(f"{LAYER}/units/2").text
    assert "Natural textures reaches 2.30 times the highest real image." in page
    below = front.client.get(f"{LAYER}/units/0").text
    assert highest > 0
    assert "Natural textures stays below" in below
    assert 'id="chart-title"' in below


def test_a_dead_unit_has_a_page(front: Front, seeded: answers.Seeded) -> None:
    with front.services.sessions.begin() as session:
        session.query(UnitView).delete()
    page = front.client.get(UNIT).text
    assert "still being made" in page
    assert f"/api/v1/probe-sets/{seeded.set_id}/images/" in page


# --- the layer and the network page ---------------------------------------------------------------------


def units_of(page: str) -> list[int]:
    return [int(n) for n in re.findall(r'class="unit" href="[^"]+/units/(\d+)', page)]


def test_a_layer_shows_top_images_where_it_has_no_pictures(front: Front, seeded: answers.Seeded) -> None:
    page = front.client.get(LAYER).text
    assert units_of(page) == list(range(6))
    assert "Crop of the real image that tiny conv:3 answers to most" in page
    selective = front.client.get(f"{LAYER}?sort=selectivity").text
    assert units_of(selective) == [5, 4, 3, 2, 1, 0]
    assert f"the strongest of {answers.IMAGES} images of {answers.SET}" in page


def test_a_layer_with_both_switches_between_them(front: Front, pictured: Pictured, seeded: answers.Seeded) -> None:
    pictures = front.client.get(LAYER).text
    assert "Preferred picture of tiny conv:0" in pictures
    (images,) = re.findall(r'href="([^"]+)">Top images</a>', pictures)
    assert "Crop of the real image" in front.client.get(unescape(images)).text
    ordered = front.client.get(f"{LAYER}?sort=highest").text
    rest = front.client.get(f"{API}{LAYER}/answers?sort=highest").json["items"]
    assert units_of(ordered) == [item["unit"] for item in rest]


def test_orders_by_answers_are_only_offered_where_there_are_answers(front: Front, pictured: Pictured) -> None:
    page = front.client.get(f"{LAYER}?sort=selectivity").text
    assert "Most selective" not in page
    assert units_of(page) == list(range(6))


def test_the_network_page_shows_what_it_was_run_on(front: Front, pictured: Pictured, seeded: answers.Seeded) -> None:
    page = front.client.get("/networks/tiny").text
    assert f">{answers.SET}</a> (40 images)" in page
    strips = front.client.get("/networks/tiny?show=images").text
    assert strips.count("Crop of the real image") == 6 + 4 + 3
    assert 'type="file"' in page


def test_no_page_of_answers_has_inline_script_or_style(
    front: Front, pictured: Pictured, seeded: answers.Seeded
) -> None:
    paths = ("/networks/tiny", "/networks/tiny?show=images", LAYER, f"{LAYER}?show=images", UNIT, f"{UNIT}?open=top-0",
             "/networks/tiny/search", "/networks/tiny/search?label=fish", "/networks/unseen/search")  # fmt: skip
    for path in paths:
        page = front.client.get(path, headers={"Accept": "text/html"})
        assert page.status_code == 200, path
        assert INLINE.findall(page.text) == [], path
        assert ELSEWHERE.findall(page.text) == [], path
