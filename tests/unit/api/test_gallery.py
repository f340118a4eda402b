"""The pages, as the server writes them: lists that are paged, and names that would break a page."""

import re

from core.recipes import FOURIER
from core.specs import Recipe
from tests.integration import records
from tests.unit.api.conftest import Front

HOSTILE = """"><script>alert('x')</script>&{{ 777 * 777 }}"""


def ids(page: str) -> list[str]:
    """The atlases that a page links to."""
    return re.findall(r'href="/atlases/([0-9a-z]{26})"', page)


def test_every_atlas_is_on_a_page(front: Front) -> None:
    made = [front.client.post("/api/v1/atlases", json={"network": "tiny"}).json["id"] for _ in range(53)]
    assert len(ids(front.client.get("/").text)) == 8
    first = front.client.get("/atlases").text
    (following,) = re.findall(r'rel="next" href="([^"]+)"', first)
    last = front.client.get(following).text
    assert ids(first) + ids(last) == sorted(made, reverse=True)
    assert 'rel="next"' not in last
    (live,) = re.findall(r'data-live="([^"]+)"', last)
    assert ids(front.client.get(live).text) == ids(last)


def test_a_page_without_atlases_says_so(front: Front) -> None:
    assert "None yet" in front.client.get("/atlases").text


def test_a_seed_that_cannot_be_counts_as_not_said(front: Front) -> None:
    for seed in ("50", "-1", "x", "", "9" * 5000):
        assert front.client.get(f"/networks/tiny/layers/conv?seed={seed}").status_code == 200


def named(front: Front, recipe: Recipe, layer: str = "conv", label: str = "b") -> None:
    """A network "named" of one labelled layer, with pictures of a recipe."""
    source = records.SOURCE.model_copy(update={"name": "named"})
    layers = [records.layer(layer, 0, 3, labelled=True)]
    described = records.info(source, layers, weights="e").model_copy(update={"labels": ("a", label, "c")})
    with front.services.sessions.begin() as session:
        records.describe(session, described)
        wish = records.wish((recipe,), network="named")
        records.atlases.create(session, wish, max_open=records.MAX_OPEN)
        records.store(session, layer, [records.picture(n) for n in range(3)], recipe, network="named")


def test_units_keep_their_addresses_whatever_a_recipe_is_called(front: Front) -> None:
    named(front, FOURIER.model_copy(update={"name": "r987654321", "title": "987654321"}))
    page = front.client.get("/networks/named/layers/conv").text
    for unit in range(3):
        assert f'href="/networks/named/layers/conv/units/{unit}?recipe=r987654321"' in page
        assert f'alt="Preferred picture of named conv:{unit}, style 987654321, seed 0"' in page


def test_names_are_text_and_never_markup(front: Front) -> None:
    named(front, FOURIER.model_copy(update={"name": "odd", "title": HOSTILE[:80]}), HOSTILE, HOSTILE)
    search = "/search?q=script"
    (unit,) = set(re.findall(r'href="([^"]+/units/1[^"]*)"', front.client.get(search).text))
    layer = unit.partition("/units/")[0]
    for path in ("/", "/atlases", "/networks/named", layer, unit, f"{layer}x", search, f"/search?q={HOSTILE}"):
        page = front.client.get(path, headers={"Accept": "text/html"}).text
        assert "<script>alert" not in page, path
        assert '"><script' not in page, path
        assert "603729" not in page, path
