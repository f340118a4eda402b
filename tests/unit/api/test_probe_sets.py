"""Probe sets over REST and on the gallery's pages."""

import io
import re
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import event
from werkzeug.test import TestResponse

from core.specs import Scope
from db import probe_sets
from db.forgetting import forget_deleted
from tests.integration.probe_set_records import added, begun, finished, image
from tests.unit.api.conftest import Front, MakeFront, bearer, form_value, image_bytes
from tests.unit.api.test_bad_input import problem

SETS = "/api/v1/probe-sets"


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


FILES = {
    "a/1.png": image_bytes("PNG", 1),
    "b/2.webp": image_bytes("WEBP", 2),
    "b/same.png": image_bytes("PNG", 1),
    "b/x": b"x",
}
ZIP = zipped(FILES)


def begin(client: FlaskClient, name: str = "photos", **wish: Any) -> str:
    response = client.post(SETS, json={"name": name, **wish})
    assert response.status_code == 201, response.text
    assert response.headers["Location"] == f"{SETS}/{response.json['id']}" == response.json["links"]["self"]
    return str(response.json["id"])


def send(
    client: FlaskClient, set_id: str, data: bytes = ZIP, kind: str = "application/zip", **options: Any
) -> TestResponse:
    return client.post(f"{SETS}/{set_id}/images", data=data, content_type=kind, **options)


def make(client: FlaskClient, name: str = "photos", data: bytes = ZIP) -> str:
    set_id = begin(client, name)
    assert send(client, set_id, data).status_code == 200
    assert client.post(f"{SETS}/{set_id}/finish").status_code == 200
    return set_id


# --- from the beginning to the end -----------------------------------------------


def test_a_set_is_begun_filled_finished_and_read(client: FlaskClient) -> None:
    set_id = begin(client, origin="a test")
    told = {"images": 2, "duplicates": 1, "skipped": 1, "repeated": 0, "total": 2}
    answer = send(client, set_id).json
    assert {key: answer[key] for key in told} == told
    assert [skip["name"] for skip in answer["skips"]] == ["b/x"]
    again = send(client, set_id).json
    assert (again["images"], again["duplicates"], again["skipped"], again["repeated"]) == (0, 0, 0, 2)
    found = client.post(f"{SETS}/{set_id}/finish").json
    expected = {
        "name": "photos",
        "origin": "a test",
        "state": "ready",
        "labels": ["a", "b"],
        "images": 2,
        "in_place": False,
    }
    assert {key: found[key] for key in expected} == expected
    assert len(found["content_hash"]) == 64 and found["owner"] == "local"
    images = client.get(found["links"]["images"]).json["items"]
    assert [(each["number"], each["name"], each["label"], each["width"]) for each in images] == [
        (0, "a/1.png", "a", 8), (1, "b/2.webp", "b", 8)
    ]  # fmt: skip
    skips = client.get(found["links"]["skips"]).json["items"]
    assert {skip["name"] for skip in skips} == {"b/x", "b/same.png"}
    assert [each["id"] for each in client.get(SETS).json["items"]] == [set_id]
    assert client.get(f"{SETS}?name=other").json["items"] == []


def test_files_and_thumbnails_never_change(client: FlaskClient) -> None:
    set_id = make(client)
    for number, kind in enumerate(("image/png", "image/webp")):
        response = client.get(f"{SETS}/{set_id}/images/{number}/file")
        assert response.data == list(FILES.values())[number]
        assert response.content_type == kind and "immutable" in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        known = {"If-None-Match": response.headers["ETag"]}
        assert client.get(f"{SETS}/{set_id}/images/{number}/file", headers=known).status_code == 304
    small = client.get(f"{SETS}/{set_id}/images/0/thumbnail")
    assert small.content_type == "image/webp" and Image.open(io.BytesIO(small.data)).size == (8, 8)
    assert "immutable" in small.headers["Cache-Control"]


def test_a_large_image_has_a_small_thumbnail(client: FlaskClient) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1200, 600), "red").save(buffer, "JPEG")
    set_id = make(client, data=zipped({"1.jpg": buffer.getvalue()}))
    small = Image.open(io.BytesIO(client.get(f"{SETS}/{set_id}/images/0/thumbnail").data))
    assert small.size == (192, 96)


def test_a_file_that_is_not_on_this_machine_is_not_found(front: Front, tmp_path: Path) -> None:
    sessions = front.services.sessions
    set_id = begun(sessions, "there", root=str(tmp_path))  # type: ignore[arg-type]  # they are Sessions
    (tmp_path / "1").write_bytes(b"1")
    added(sessions, set_id, image("1"), image("2"))  # type: ignore[arg-type]
    finished(sessions, set_id)  # type: ignore[arg-type]
    assert front.client.get(f"{SETS}/{set_id}/images/0/file").data == b"1"
    document = problem(front.client.get(f"{SETS}/{set_id}/images/1/file"), 404, "not-found")
    assert "not on this machine" in document["detail"] and str(tmp_path) not in str(document)
    assert client_of(front).get(f"{SETS}/{set_id}").json["in_place"] is True
    problem(front.client.get(f"{SETS}/{set_id}/images/2/file"), 404, "not-found")
    tmp_path.rename(tmp_path.with_name("moved"))
    gone = problem(front.client.get(f"{SETS}/{set_id}/images/0/file"), 404, "not-found")
    assert str(tmp_path) not in str(gone)
    tmp_path.with_name("moved").rename(tmp_path)
    filling = begun(sessions, "more", root=str(tmp_path))  # type: ignore[arg-type]
    problem(send(front.client, filling), 409, "conflict")


def client_of(front: Front) -> FlaskClient:
    return front.client


def test_deleting_frees_the_name(front: Front) -> None:
    set_id = make(front.client)
    response = front.client.post(f"{SETS}/{set_id}/delete")
    assert response.status_code == 202 and response.json == {"id": set_id, "state": "deleted"}
    for path in ("", "/images", "/skips", "/images/0/file"):
        problem(front.client.get(f"{SETS}/{set_id}{path}"), 404, "unknown-probe-set")
    make(front.client)
    with front.services.sessions.begin() as session:
        while forget_deleted(session):
            pass
    assert front.counts()["probe_sets"] == 1


def test_labels_given_beforehand_hold(client: FlaskClient) -> None:
    set_id = begin(client, labels=["b"])
    assert send(client, set_id).json["skipped"] == 2
    items = client.get(f"{SETS}/{set_id}/images").json["items"]
    assert [(each["name"], each["label"]) for each in items] == [("b/2.webp", "b"), ("b/same.png", "b")]


# --- what is refused -------------------------------------------------------------


def test_bad_wishes(front: Front) -> None:
    client = front.client
    make(client)
    before = front.counts()
    problem(client.post(SETS, json={"name": "photos"}), 409, "conflict")
    for wrong in (
        {},
        {"name": "a/b"},
        {"name": "x", "labels": ["a", "a"]},
        {"name": "x", "root": "/etc"},
        {"name": "0" * 26},
    ):
        problem(client.post(SETS, json=wrong), 422, "invalid-request")
    assert front.counts() == before


def test_bad_archives(front: Front) -> None:
    set_id = begin(front.client)
    problem(send(front.client, set_id, b"hello"), 422, "bad-archive")
    problem(send(front.client, set_id, b""), 422, "bad-archive")
    problem(send(front.client, set_id, ZIP, "text/plain"), 415, "unsupported-media-type")
    problem(send(front.client, set_id, b"{}", "application/json"), 415, "unsupported-media-type")
    problem(front.client.post(f"{SETS}/{set_id}/finish"), 422, "invalid-request")
    assert send(front.client, set_id, zipped({"x": b"x"})).json["skipped"] == 1
    problem(front.client.post(f"{SETS}/{set_id}/finish"), 422, "invalid-request")
    assert front.counts()["files"] == 0


def test_a_finished_set_takes_no_more(client: FlaskClient) -> None:
    problem(send(client, make(client)), 409, "conflict")


def test_what_an_archive_had_before_it_broke_is_kept(front: Front) -> None:
    set_id = begin(front.client)
    whole = tarred({f"{n}.png": image_bytes("PNG", n) for n in range(3)})
    problem(send(front.client, set_id, whole[:-30], "application/gzip"), 422, "bad-archive")
    assert send(front.client, set_id, whole, "application/gzip").json["total"] == 3


def test_limits_hold(make_front: MakeFront) -> None:
    front = make_front(max_archive_bytes=100_000, max_probe_set_images=1, max_picture_pixels=64)
    set_id = begin(front.client)
    document = problem(send(front.client, set_id, bytes(200_000)), 413, "too-large")
    assert "DEEPVIS_MAX_ARCHIVE_BYTES" in document["remedy"]
    problem(send(front.client, set_id), 409, "over-quota")
    large = io.BytesIO()
    Image.new("RGB", (9, 8)).save(large, "PNG")
    answer = send(front.client, set_id, zipped({"1.png": large.getvalue()})).json
    assert "9 x 8 pixels" in answer["skips"][0]["reason"]
    problem(front.client.post(SETS, data="x" * 2_000_000, content_type="application/json"), 413, "too-large")


def test_an_archive_of_too_many_pixels_is_refused_and_may_come_in_parts(make_front: MakeFront) -> None:
    front = make_front(max_archive_pixels=100, max_picture_pixels=64)
    set_id = begin(front.client)
    images = {f"{number}.png": image_bytes("PNG", number) for number in range(3)}  # 64 pixels each
    document = problem(send(front.client, set_id, zipped(images)), 413, "too-large")
    assert "DEEPVIS_MAX_ARCHIVE_PIXELS" in document["remedy"]
    for name, data in images.items():
        assert send(front.client, set_id, zipped({name: data})).status_code == 200
    assert front.client.get(f"{SETS}/{set_id}").json["images"] == 3


def test_a_store_that_is_full_says_so_and_the_same_may_be_sent_again(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.errors import StoreUnavailable

    set_id = begin(front.client)

    def full(_: bytes) -> str:
        raise StoreUnavailable("The picture store is full.")

    with monkeypatch.context() as patch:
        patch.setattr(type(front.services.store), "put", lambda _, data: full(data))
        problem(send(front.client, set_id), 503, "store-unavailable")
    assert send(front.client, set_id).json["total"] == 2


def test_only_its_owner_and_an_admin_change_a_set(closed: Front) -> None:
    alice, bob = (bearer(closed.token(name, Scope.SUBMIT)) for name in ("alice", "bob"))
    reader, admin = bearer(closed.token("carol", Scope.READ)), bearer(closed.token("root", Scope.ADMIN))
    client = closed.client
    problem(client.post(SETS, json={"name": "photos"}, headers=reader), 403, "insufficient-scope")
    set_id = client.post(SETS, json={"name": "photos"}, headers=alice).json["id"]
    for other in (bob, reader):
        problem(send(client, set_id, headers=other), 403, "insufficient-scope")
        for verb in ("finish", "delete"):
            problem(client.post(f"{SETS}/{set_id}/{verb}", headers=other), 403, "insufficient-scope")
    assert send(client, set_id, headers=alice).status_code == 200
    assert client.post(f"{SETS}/{set_id}/finish", headers=admin).status_code == 200
    assert client.get(f"{SETS}/{set_id}", headers=reader).json["owner"] == "alice"
    assert client.post(f"{SETS}/{set_id}/delete", headers=alice).status_code == 202


# --- pages -----------------------------------------------------------------------


def post_form(client: FlaskClient, data: bytes | None = ZIP, **fields: str) -> TestResponse:
    page = client.get("/probe-sets")
    file = {} if data is None else {"archive": (io.BytesIO(data), "photos.zip")}
    form = {"form": form_value(page, "/probe-sets"), "name": "photos", **file, **fields}
    return client.post("/probe-sets", data=form, content_type="multipart/form-data", headers={"Accept": "text/html"})


def test_the_form_makes_a_set_and_its_page_shows_it(client: FlaskClient) -> None:
    response = post_form(client, zipped({f"all/{name}": data for name, data in FILES.items()}))
    assert (response.status_code, response.headers["Location"]) == (303, "/probe-sets/photos")
    page = client.get("/probe-sets/photos").text
    for words in ("Ready", "1 file skipped, 1 duplicate", "photos.zip", "b/same.png", "It is the same as a/1.png."):
        assert words in page, words
    assert re.findall(r'label=(\d)">([ab])</a> <span class="quiet small">(\d)', page) == [
        ("0", "a", "1"),
        ("1", "b", "1"),
    ]
    assert page.count("/thumbnail") == 2
    assert client.get("/probe-sets/photos?label=1").text.count("/thumbnail") == 1
    assert ">photos</a>" in client.get("/probe-sets").text


def test_a_form_that_fails_leaves_nothing(front: Front) -> None:
    client = front.client
    make(client, "taken")
    before = front.counts()
    for status, given in (
        (409, {"name": "taken"}), (422, {"name": "a b"}), (422, {"data": b"x"}), (422, {"data": None}),
        (422, {"data": zipped({"x": b"x"})}),
    ):  # fmt: skip
        response = post_form(client, **given)  # type: ignore[arg-type]
        assert response.status_code == status and response.mimetype == "text/html", given
    with front.services.sessions.begin() as session:
        while forget_deleted(session):
            pass
    assert front.counts() == before
    assert "taken" in client.get("/probe-sets").text


def test_a_form_of_no_page_of_ours_is_refused(front: Front) -> None:
    set_id = make(front.client)
    assert post_form(front.client, form="wrong", name="x").status_code == 403
    assert front.client.post("/probe-sets/photos/delete", data={"form": "wrong"}).status_code == 403
    assert front.client.get(f"{SETS}/{set_id}").status_code == 200


def test_the_page_deletes_a_set(client: FlaskClient) -> None:
    make(client)
    form = {"form": form_value(client.get("/probe-sets/photos"), "/probe-sets/photos/delete")}
    assert client.post("/probe-sets/photos/delete", data=form).status_code == 303
    assert client.get("/probe-sets/photos").status_code == 404
    assert "No probe set yet" in client.get("/probe-sets").text


def test_pages_page(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.gallery.probe_set_routes.PAGE_IMAGES", 2)
    monkeypatch.setattr("api.gallery.probe_set_routes.PAGE_SETS", 1)
    monkeypatch.setattr("api.gallery.probe_set_routes.SHOWN_SKIPS", 1)
    make(client, data=zipped({**{f"{n}.png": image_bytes("PNG", n) for n in range(3)}, "x": b"", "y": b""}))
    make(client, "newer")
    page = client.get("/probe-sets/photos").text
    [following] = re.findall(r'class="button" rel="next" href="([^"]+)"', page)
    assert client.get(following.replace("&amp;", "&")).text.count("/thumbnail") == 1
    assert ">x<" in page and ">y<" not in page and ">y<" in client.get("/probe-sets/photos?skips=all").text
    page = client.get("/probe-sets").text
    assert ">newer</a>" in page and ">photos</a>" not in page
    [following] = re.findall(r'rel="next" href="([^"]+)"', page)
    assert ">photos</a>" in client.get(following).text


def test_of_many_labels_the_page_shows_some_and_the_chosen_one(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.gallery.probe_sets.MOST_LABELS", 2)
    set_id = begin(front.client)
    send(front.client, set_id, zipped({f"{name}/1.png": image_bytes("PNG", ord(name)) for name in "abcd"}))
    filling = front.client.get("/probe-sets/photos").text
    assert labels_of(filling) == [("0", "a", ""), ("1", "b", "")] and "And 2 more" in filling
    front.client.post(f"{SETS}/{set_id}/finish")
    chosen = front.client.get("/probe-sets/photos?label=3").text
    assert labels_of(chosen) == [("0", "a", "1"), ("1", "b", "1"), ("3", "d", "1")] and "And 1 more" in chosen
    assert chosen.count("/thumbnail") == 1
    for wrong in (4, -1, 2**70, -(2**70)):
        assert front.client.get(f"/probe-sets/photos?label={wrong}").text.count("/thumbnail") == 0


def labels_of(page: str) -> list[tuple[str, str, str]]:
    """Place, name and number of images of each label that a page shows."""
    return re.findall(r'label=(\d)"[^>]*>([a-z])</a>(?: <span class="quiet small">(\d)</span>)?</li>', page)


def test_the_labels_of_a_ready_set_are_counted_once_and_a_file_is_found_at_once(front: Front) -> None:
    set_id = make(front.client)
    statements: list[str] = []

    def note(_c: object, _u: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(front.services.sessions.kw["bind"], "before_cursor_execute", note)
    for _ in range(3):
        front.client.get("/probe-sets/photos")
    assert sum("GROUP BY probe_images.label" in each for each in statements) == 1
    statements.clear()
    assert front.client.get(f"{SETS}/{set_id}/images/0/thumbnail").status_code == 200
    assert sum("probe_" in each for each in statements) == 1


def test_a_set_that_is_not_finished_says_so(front: Front) -> None:
    begin(front.client)
    assert "cannot be used yet" in front.client.get("/probe-sets/photos").text
    assert "Being filled" in front.client.get("/probe-sets").text


def test_somebody_who_only_reads_sees_no_forms(closed: Front) -> None:
    with closed.services.sessions.begin() as session:
        probe_sets.begin(session, "photos", owner="alice", origin="here")
    assert closed.log_in(closed.token("carol", Scope.READ)).status_code == 303
    for path in ("/probe-sets", "/probe-sets/photos"):
        page = closed.client.get(path)
        assert page.status_code == 200 and 'action="/probe-sets' not in page.text
