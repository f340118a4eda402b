"""Searches across a network, by label and by picture: REST and the pages."""

import io
import re

import pytest

from core.specs import Scope
from db import probe_sets, searches
from db.models import Network
from tests import answers
from tests.unit.api.conftest import Front, MakeFront, bearer, image_bytes, problem

SEARCHES = "/api/v1/networks/tiny/searches"
PAGE = "/networks/tiny/search"


def seed(front: Front) -> answers.Seeded:
    with front.services.sessions.begin() as session:
        network = session.query(Network).filter_by(name="tiny").one()
        set_id = answers.add_set(session, front.services.store)
        return answers.add_pass(session, front.services.store, network, network.layers, set_id)


@pytest.fixture
def seeded(front: Front) -> answers.Seeded:
    """A pass of "tiny" over a probe set."""
    return seed(front)


def upload(data: bytes, name: str = "cat.png", **fields: str) -> dict[str, object]:
    return {"data": {"picture": (io.BytesIO(data), name), **fields}}


def hidden_value(page: str) -> str:
    """What the hidden field of the form that sends a picture carries."""
    return re.findall(r'name="form" value="([^"]+)"', page.partition('method="post"')[2])[0]


# --- by label --------------------------------------------------------------------------------------------


def test_units_by_label(front: Front, seeded: answers.Seeded) -> None:
    found = front.client.get("/api/v1/networks/tiny/search?label=FISHES&limit=2").json
    assert found["labels"] == ["fish"]
    assert len(found["items"]) == 2
    assert found["more"]
    assert {item["prefers"] for item in found["items"]} == {"fish"}
    assert front.client.get(found["items"][0]["links"]["gallery"]).status_code == 200
    page = front.client.get(f"{PAGE}?label=FISHES").text
    assert found["items"][0]["address"] in page


def test_nothing_by_label(front: Front, seeded: answers.Seeded) -> None:
    found = front.client.get("/api/v1/networks/tiny/search?label=zebra").json
    assert found["items"] == []
    assert "butterfly" in found["message"]
    page = front.client.get(f"{PAGE}?label=zebra").text
    assert "No label of drawn-scenes" in page
    assert f'href="{PAGE}?label=butterfly"' in page
    problem(front.client.get("/api/v1/networks/tiny/search"), 422, "invalid-request")
    problem(front.client.get("/api/v1/networks/tiny/search?label="), 422, "invalid-request")


def test_the_search_page_of_a_network_that_was_not_run(front: Front) -> None:
    assert "deepvis probe run tiny SET --wait" in front.client.get(f"{PAGE}?label=dog").text


# --- by picture ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_picture_as_it_is(front: Front, seeded: answers.Seeded, kind: str) -> None:
    sent = front.client.post(SEARCHES, data=image_bytes(kind, 77), content_type=f"image/{kind.lower()}")
    assert sent.status_code == 202
    assert sent.json["state"] == "queued"
    assert front.messages() == [("deepvis.search", [sent.json["id"]])]
    assert front.client.get(sent.headers["Location"]).json == sent.json
    kept = front.client.get(sent.json["links"]["picture"])
    assert kept.content_type == "image/png"


def test_a_picture_in_a_form(front: Front, seeded: answers.Seeded) -> None:
    sent = front.client.post(SEARCHES, **upload(image_bytes("PNG", 50)))
    assert (sent.status_code, sent.json["owner"]) == (202, "local")


def test_a_search_ends_with_units(front: Front, seeded: answers.Seeded) -> None:
    sent = front.client.post(SEARCHES, **upload(image_bytes("PNG", 50))).json
    waiting = front.client.get(f"/searches/{sent['id']}").text
    assert f'data-live="/searches/{sent["id"]}/live"' in waiting
    assert "waits for a worker" in waiting
    with front.services.sessions.begin() as session:
        conv = session.query(Network).filter_by(name="tiny").one().layers[0].id
        searches.finish(session, sent["id"], [(conv, 3, 9.5, 99.97, 4.1), (conv, 1, 9.0, 100.0, 3.0)])
    found = front.client.get(sent["links"]["self"]).json
    assert [unit["address"] for unit in found["units"]] == ["conv:3", "conv:1"]
    assert front.client.get(found["units"][0]["links"]["answers"]).status_code == 200
    page = front.client.get(f"/searches/{sent['id']}").text
    assert "above 99.9 % of the images" in page
    assert "above all of the images" in page
    assert "data-live-end" in page


def test_a_search_that_failed_says_why(front: Front, seeded: answers.Seeded) -> None:
    sent = front.client.post(SEARCHES, **upload(image_bytes("PNG", 50))).json
    with front.services.sessions.begin() as session:
        searches.fail(session, sent["id"], "There is <no> memory.")
    assert front.client.get(sent["links"]["self"]).json["error"] == "There is <no> memory."
    assert "There is &lt;no&gt; memory." in front.client.get(f"/searches/{sent['id']}").text


@pytest.mark.parametrize(
    ("request_", "status", "slug", "words"),
    [
        ({"data": b"no picture", "content_type": "image/png"}, 422, "bad-picture", "no picture of a known format"),
        ({"data": b"<svg/>", "content_type": "image/svg+xml"}, 422, "bad-picture", "a document (such as SVG)"),
        ({"data": b"", "content_type": "image/png"}, 422, "bad-picture", "no picture"),
        (upload(b"GIF89a"), 422, "bad-picture", "called .png"),
        ({"data": {"other": "x"}, "content_type": "multipart/form-data"}, 422, "bad-picture", "No picture was sent"),
        ({"json": {"picture": "x"}}, 422, "bad-picture", "no picture of a known format"),
        ({"data": b"x" * 300_000, "content_type": "image/png"}, 413, "too-large", "over the limit"),
    ],
)
def test_what_is_no_picture_is_refused_and_nothing_is_kept(
    make_front: MakeFront, request_: dict[str, object], status: int, slug: str, words: str
) -> None:
    front = make_front(max_picture_bytes=200_000)
    seed(front)
    before = front.counts()
    document = problem(front.client.post(SEARCHES, **request_), status, slug)
    assert words in document["detail"]
    if status == 413:
        assert "DEEPVIS_MAX_PICTURE_BYTES" in document["remedy"]
    assert front.counts() == before
    assert front.messages() == []


def test_a_picture_may_be_larger_than_other_bodies(make_front: MakeFront) -> None:
    front = make_front(max_body_bytes=1024)
    seed(front)
    image, _ = answers.scenes()[0]
    data = answers.encode(image, "BMP")
    assert len(data) > 10_000
    assert front.client.post(SEARCHES, data=data, content_type="image/bmp").status_code == 202
    problem(front.client.post("/api/v1/atlases", json={"network": "x" * 5000}), 413, "too-large")


def test_too_many_pixels(make_front: MakeFront) -> None:
    front = make_front(max_picture_pixels=63)
    seed(front)
    sent = front.client.post(SEARCHES, data=image_bytes("PNG", 50), content_type="image/png")
    assert "8 x 8 pixels" in problem(sent, 422, "bad-picture")["detail"]


def test_no_pass_and_no_search(front: Front) -> None:
    sent = front.client.post(SEARCHES, data=image_bytes("PNG", 50), content_type="image/png")
    assert "deepvis probe run tiny SET --wait" in problem(sent, 409, "conflict")["remedy"]
    for path in ("/api/v1/searches/nothing", "/api/v1/searches/nothing/picture"):
        problem(front.client.get(path), 404, "not-found")


# --- who may, and forms ------------------------------------------------------------------------------------


def test_reading_is_not_enough_to_send_a_picture(closed: Front) -> None:
    seed(closed)
    picture = {"data": image_bytes("PNG", 50), "content_type": "image/png"}
    for scope, status in ((Scope.READ, 403), (Scope.SUBMIT, 202)):
        token = closed.token(f"with-{scope}", scope)
        assert closed.client.post(SEARCHES, headers=bearer(token), **picture).status_code == status


def test_another_sites_page_sends_none(front: Front, seeded: answers.Seeded) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://elsewhere.example"}):
        sent = front.client.post(SEARCHES, headers=headers, **upload(image_bytes("PNG", 50)))
        problem(sent, 403, "forbidden")


def test_the_form_works_without_a_login_and_only_from_our_page(front: Front, seeded: answers.Seeded) -> None:
    picture = image_bytes("PNG", 50)
    page = front.client.get("/networks/tiny")
    value = hidden_value(page.text)
    for wrong in ({}, {"form": "x"}):
        problem(front.client.post(PAGE, **upload(picture, **wrong)), 403, "forbidden")
    sent = front.client.post(PAGE, **upload(picture, form=value))
    assert sent.status_code == 303
    assert re.fullmatch(r"/searches/[0-9a-z]{26}", sent.headers["Location"])


def test_the_form_works_with_a_login(closed: Front) -> None:
    seed(closed)
    closed.log_in(closed.token("alice", Scope.SUBMIT))
    value = hidden_value(closed.client.get("/networks/tiny").text)
    sent = closed.client.post(PAGE, **upload(image_bytes("PNG", 50), form=value))
    assert sent.status_code == 303
    found = closed.client.get(f"/api/v1{sent.headers['Location']}").json
    assert found["owner"] == "alice"


def test_who_may_only_read_is_offered_no_form(closed: Front) -> None:
    seed(closed)
    closed.log_in(closed.token("alice", Scope.READ))
    page = closed.client.get("/networks/tiny").text
    assert 'type="file"' not in page
    assert "Which units like" in page


def test_a_set_that_is_deleted_while_the_picture_is_kept_gets_no_search(
    front: Front, seeded: answers.Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, before = type(front.services.store).put, front.counts()["picture_searches"]

    def delete_and_put(store: object, data: bytes) -> str:
        with front.services.sessions.begin() as session:
            probe_sets.delete(session, seeded.set_id)
        return put(store, data)  # type: ignore[arg-type]  # the store it is called on

    monkeypatch.setattr(type(front.services.store), "put", delete_and_put)
    problem(front.client.post(SEARCHES, data=image_bytes("PNG", 1), content_type="image/png"), 409, "probe-set-changed")
    assert front.counts()["picture_searches"] == before
