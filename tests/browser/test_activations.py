"""The pages of activations in a real browser: what is done is shown, the video plays, a form says what is wrong."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.activation_specs import ActivationKind, ActivationResult, ClassChance, LayerView, UnitValue
from core.settings import Settings
from db import activations
from db.activations import ActivationWish, Files, Sent, StoredPart
from db.migrate import upgrade
from db.session import Sessions, make_engine, make_sessions
from deepvis.film import Film
from store import PictureStore, open_store
from store.parts import put_parts
from tests.browser.conftest import DESKTOP, PHONE, serve
from tests.integration import records
from tests.videos import picture, pictures, sound

PLAYING = "() => { const v = document.querySelector('video'); return v.currentTime > 0.3 && v.videoWidth > 0 }"


def stored(store: PictureStore, data: bytes) -> list[StoredPart]:
    return [StoredPart(*part) for part in put_parts(store, io.BytesIO(data), 5000)]


def film(folder: Path) -> bytes:
    with Film(folder / "film.webm", (320, 160)) as made:
        for number, image in enumerate(pictures(40, 320, 160)):
            made.add(image, number / 20)
    return (folder / "film.webm").read_bytes()


def done(sessions: Sessions, kind: ActivationKind, result: ActivationResult, files: Files, name: str) -> str:
    with sessions.begin() as session:
        spec = activations.resolve(session, ActivationWish(kind=kind, network="tiny", layers=("conv",)))
        sent = Sent(name, files["input"])
        job_id = activations.create(session, spec, sent, owner="local", max_open=99).id
        lease = activations.begin(session, job_id, "token", 60, 3)
        assert lease is not None
        activations.finish(session, lease, result, {key: parts for key, parts in files.items() if key != "input"})
    return job_id


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """The address of a server, and a picture's and a video's activations that are done."""
    settings = Settings(home=tmp_path_factory.mktemp("activations"), broker_url="memory://")
    upgrade(settings.resolved_database_url)
    engine = make_engine(settings.resolved_database_url)
    sessions, store = make_sessions(engine), open_store(settings.resolved_store_url)
    with sessions.begin() as session:
        records.describe(session)
    image, strongest = stored(store, picture()), (UnitValue(unit=2, value=3.5), UnitValue(unit=0, value=None))
    view = LayerView(
        layer="conv", order=0, units=6, height=4, width=4, grid="layer-0.png", columns=3, strongest=strongest
    )
    chance = ClassChance(unit=1, label="Lemon", probability=0.8)
    seen = ActivationResult(layers=(view,), classes=(chance,), frames=1, width=80, height=64)
    files = dict.fromkeys(("input", "seen.png", "whole.png", "layer-0.png", "activations.npz"), image)
    still = done(sessions, ActivationKind.PICTURE, seen, files, "cat.png")
    played = ActivationResult(
        layers=(view.model_copy(update={"grid": "", "data": "layer-0.safetensors"}),), frames=40, seconds=2.0,
        width=320, height=160, ended="After frame 40 (2.00 s): The video cannot be decoded: it is torn.",
    )  # fmt: skip
    webm = stored(store, film(settings.home))
    moving = done(sessions, ActivationKind.RECORDING, played, {"input": image, "recording.webm": webm}, "walk.mp4")
    engine.dispose()
    for address in serve(settings):
        yield address, still, moving


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_layer_of_a_picture_is_on_its_page(visit, seeded, size, shots) -> None:
    base, still, _ = seeded
    page, _ = visit(f"/activations/{still}", size=size, base=base)
    page.wait_for_selector(".answer-of-layer img")
    page.evaluate("document.querySelector('.answer-of-layer img').scrollIntoView()")
    page.wait_for_function("[...document.querySelectorAll('main img')].every((i) => i.complete && i.naturalWidth > 0)")
    units = page.locator(".strongest a")
    assert [text.strip() for text in units.all_inner_texts()] == ["2 3.50", "0 none"]
    assert units.first.get_attribute("href") == "/networks/tiny/layers/conv/units/2"
    assert "Lemon" in page.inner_text(".chances") and "80 %" in page.inner_text(".chances")
    assert page.get_attribute("a:has-text('One large picture')", "href").endswith("/files/whole.png")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if shots:
        page.screenshot(path=shots / f"activation-{size['width']}.png", full_page=True)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_recording_plays_and_can_be_wound(visit, seeded, size, shots) -> None:
    base, _, moving = seeded
    page, _ = visit(f"/recordings/{moving}", size=size, base=base)
    page.evaluate("() => document.querySelector('video').play()")
    page.wait_for_function(PLAYING)
    film_size = page.evaluate(
        "() => { const v = document.querySelector('video'); return [v.videoWidth, v.videoHeight] }"
    )
    assert film_size == [320, 160]
    page.evaluate("() => { const v = document.querySelector('video'); v.pause(); v.currentTime = 1.5 }")
    page.wait_for_function(
        "() => { const v = document.querySelector('video'); return !v.seeking && v.currentTime == 1.5 }"
    )
    assert "could not be read to its end" in page.inner_text("main")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if shots:
        page.screenshot(path=shots / f"recording-{size['width']}.png", full_page=True)


def test_the_forms_send_files_and_say_what_is_wrong(visit, seeded, tmp_path) -> None:
    base, _, _ = seeded
    for name, data in (("cat.png", picture()), ("talk.mp4", sound())):
        (tmp_path / name).write_bytes(data)
    page, seen = visit("/activations?network=tiny", base=base, faults=True)
    page.set_input_files("#video", tmp_path / "talk.mp4")
    page.click("text=Record it")
    page.wait_for_selector("text=only sound")
    assert "Send one with a video track." in page.inner_text("form[data-upload$=recordings] .answer")
    page.set_input_files("#picture", tmp_path / "cat.png")
    page.click("text=Show every layer")
    page.wait_for_url("**/activations/*")
    page.wait_for_selector("text=Waiting for a worker")
    page.click("text=Cancel")
    page.wait_for_selector("text=Cancelled")
    page.click("button:has-text('Delete')")
    page.wait_for_url("**/activations")
    assert [complaint for complaint in seen.complaints if "422" not in complaint] == []


def test_without_script_the_command_line_is_named(visit, seeded) -> None:
    base, still, _ = seeded
    page, _ = visit("/activations", base=base, java_script_enabled=False)
    assert page.is_visible("text=deepvis activations tiny PICTURE --out FOLDER")
    assert not page.is_visible("text=Record it")
    page.goto(f"{base}/activations/{still}")
    assert page.is_visible(".answer-of-layer img")
