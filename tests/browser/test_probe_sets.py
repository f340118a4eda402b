"""Probe sets in a real browser: made by the form, looked at, deleted; with script and without."""

import io
import zipfile

import pytest

from tests.browser.conftest import PHONE
from tests.unit.api.conftest import image_bytes

pytestmark = pytest.mark.browser

PLAIN = {"java_script_enabled": False}


def archive() -> dict[str, object]:
    """A file to be chosen: two labelled images, and one that is none."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in (("a/1.png", image_bytes("PNG", 90)), ("b/2.png", image_bytes("PNG", 200)), ("b/x", b"x")):
            made.writestr(name, data)
    return {"name": "photos.zip", "mimeType": "application/zip", "buffer": buffer.getvalue()}


@pytest.mark.parametrize("context", [{}, PLAIN], ids=["script", "plain"])
def test_a_set_is_made_looked_at_and_deleted(visit, context: dict[str, object]) -> None:
    page, _ = visit("/", **context)
    page.get_by_label("Site").get_by_role("link", name="Probe sets").click()
    name = f"made-{'plain' if context else 'by-script'}"
    page.get_by_label("Name").fill(name)
    page.get_by_label("Archive").set_input_files(archive())
    page.get_by_role("button", name="Make the probe set").click()
    assert page.url.endswith(f"/probe-sets/{name}")
    assert page.get_by_role("heading", level=1).inner_text() == name
    images = page.locator(".shots img")
    assert images.count() == 2
    page.wait_for_function(
        "[...document.querySelectorAll('.shots img')].every(i => i.complete && i.naturalWidth === 8)"
    )
    page.get_by_role("link", name="b", exact=True).click()
    assert images.count() == 1
    assert page.locator("#skips").get_by_text("no picture of a known format").is_visible()
    page.get_by_text("Delete this set").click()
    page.get_by_role("button", name=f"Delete {name}").click()
    assert page.url.endswith("/probe-sets")
    assert page.get_by_role("link", name=name).count() == 0


def test_on_a_phone_nothing_is_wider_than_the_screen(visit) -> None:
    for path in ("/probe-sets", "/probe-sets/" + "unknown"):
        page, _ = visit(path, size=PHONE, faults="unknown" in path)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
