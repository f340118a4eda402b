"""Pictures and videos that are sent: taken up, refused in words, and nothing is stored of what is refused."""

import io
from typing import Any

import pytest
from werkzeug.test import TestResponse

from api.uploads import FORMS
from core.activation_specs import ActivationResult
from core.specs import Scope
from db import activations
from db.activations import StoredPart
from tests.unit.api.conftest import Front, MakeFront, bearer, problem
from tests.videos import animation, picture, sound, video

ACTIVATIONS, RECORDINGS = "/api/v1/activations", "/api/v1/recordings"


def send(front: Front, group: str, content: bytes, name: str = "a", headers: Any = None, **fields: Any) -> TestResponse:
    field = "picture" if group == ACTIVATIONS else "video"
    given = {"network": "tiny", **({"layers": "conv"} if group == RECORDINGS else {}), **fields}
    form = {**given, field: (io.BytesIO(content), name)} if content else given
    return front.client.post(group, data=form, content_type="multipart/form-data", headers=headers)


def test_a_picture_waits_for_a_worker_without_what_else_was_in_its_file(front: Front) -> None:
    answer = send(front, ACTIVATIONS, picture("JPEG"), "holiday/cat.jpg")
    assert answer.status_code == 202, answer.text
    job = answer.json
    assert (job["state"], job["network"], job["owner"], job["filename"]) == ("queued", "tiny", "local", "cat.jpg")
    assert job["spec"]["layers"] == ["conv", "hidden", "classes"]
    assert answer.headers["Location"] == job["links"]["self"]
    assert front.client.get(job["links"]["self"]).json == job
    assert front.messages() == [("deepvis.activations", [job["id"]])]
    [entry] = front.services.store.entries()
    assert front.services.store.get(entry.key).startswith(b"\x89PNG")
    listed = front.client.get(ACTIVATIONS).json["items"]
    assert [item["id"] for item in listed] == [job["id"]]
    assert front.client.get(RECORDINGS).json["items"] == []
    problem(front.client.get(f"{RECORDINGS}/{job['id']}"), 404, "not-found")


def test_a_video_waits_for_a_worker_as_it_came(front: Front) -> None:
    data = video(8)
    answer = send(front, RECORDINGS, data, "walk.mp4", layers=" classes, conv,", step="2", side="before", data="no")
    assert answer.status_code == 202, answer.text
    spec = answer.json["spec"]
    assert (spec["layers"], spec["step"], spec["side"], spec["data"]) == (["conv", "classes"], 2, "before", False)
    assert front.messages() == [("deepvis.activations", [answer.json["id"]])]
    [entry] = front.services.store.entries()
    assert front.services.store.get(entry.key) == data
    problem(front.client.get(f"{answer.json['links']['self']}/files/input"), 404, "not-found")
    assert send(front, RECORDINGS, animation(4), "walk.gif").status_code == 202


@pytest.mark.parametrize(
    ("group", "data", "name", "fields", "slug", "words"),
    [
        (ACTIVATIONS, b"", "", {}, "invalid-request", "picture"),
        (ACTIVATIONS, b"not a picture", "cat.png", {}, "bad-picture", "no picture of a known format"),
        (ACTIVATIONS, picture(), "cat.jpg", {}, "bad-picture", "is called .jpg and is a PNG"),
        (ACTIVATIONS, picture()[:60], "cat.png", {}, "bad-picture", "broken"),
        (ACTIVATIONS, video(3), "cat.mp4", {}, "bad-picture", "no picture"),
        (ACTIVATIONS, picture(), "cat.png", {"layers": "conf"}, "unknown-layer", "'conf'"),
        (ACTIVATIONS, picture(), "cat.png", {"network": "tinny"}, "unknown-network", "'tinny'"),
        (ACTIVATIONS, picture(), "cat.png", {"side": "beside"}, "invalid-request", "side"),
        (ACTIVATIONS, picture(), "cat.png", {"speed": "9"}, "invalid-request", "speed"),
        (RECORDINGS, b"", "", {}, "invalid-request", "video"),
        (RECORDINGS, sound(), "walk.mp4", {}, "bad-video", "only sound"),
        (RECORDINGS, picture(), "walk.mp4", {}, "bad-picture", "is called .mp4 and is a PNG"),
        (RECORDINGS, picture(), "walk.png", {}, "bad-video", "does not move"),
        (RECORDINGS, b"#EXTM3U\nhttp://127.0.0.1/", "walk.mp4", {}, "bad-video", "no video"),
        (RECORDINGS, video(3), "walk.mp4", {"layers": ""}, "invalid-request", "layers"),
        (RECORDINGS, video(3), "walk.mp4", {"layers": ","}, "invalid-request", "1 to 12 layers"),
        (RECORDINGS, video(3), "walk.mp4", {"step": "0"}, "invalid-request", "step"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_stored(
    front: Front, group: str, data: bytes, name: str, fields: dict[str, str], slug: str, words: str
) -> None:
    before = front.counts()
    status = 404 if slug == "unknown-network" else 422
    document = problem(send(front, group, data, name, **fields), status, slug)
    assert words in document["detail"]
    assert front.counts() == before
    assert front.messages() == []


def test_each_file_has_its_limit(make_front: MakeFront) -> None:
    front = make_front(max_picture_bytes=2000, max_video_bytes=100_000, max_video_frames=10, max_picture_pixels=9000)
    large = bytes(70_000)
    for group, setting in ((ACTIVATIONS, "MAX_PICTURE_BYTES"), (RECORDINGS, "MAX_VIDEO_BYTES")):
        document = problem(send(front, group, large * 3, "a.png"), 413, "too-large")
        assert f"DEEPVIS_{setting}" in document["remedy"]
    assert "bytes" in problem(send(front, ACTIVATIONS, large[:3000], "a.png"), 422, "bad-picture")["detail"]
    assert "100 x 100" in problem(send(front, ACTIVATIONS, picture("PNG", 100, 100)), 422, "bad-picture")["detail"]
    assert "12 frames" in problem(send(front, RECORDINGS, video(12)), 422, "bad-video")["detail"]
    assert send(front, RECORDINGS, video(9)).status_code == 202
    body = problem(front.client.post("/api/v1/atlases", json={"network": "x" * 2_000_000}), 413, "too-large")
    assert "MAX_BODY_BYTES" in body["remedy"]


def test_a_file_comes_in_a_form_and_nowhere_else(front: Front) -> None:
    for group in (ACTIVATIONS, RECORDINGS):
        problem(front.client.post(group, json={"network": "tiny"}), 415, "unsupported-media-type")
    form = {"picture": (io.BytesIO(picture()), "a.png")}
    answer = front.client.post("/api/v1/atlases", data=form, content_type="multipart/form-data")
    problem(answer, 415, "unsupported-media-type")
    assert {rule.endpoint for rule in front.app.url_map.iter_rules()} >= set(FORMS)


def test_pages_of_other_sites_send_no_file(front: Front) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}):
        problem(send(front, ACTIVATIONS, picture(), "a.png", headers), 403, "forbidden")
    assert send(front, ACTIVATIONS, picture(), "a.png", {"Sec-Fetch-Site": "same-origin"}).status_code == 202


def test_the_layers_of_a_network_are_asked_for_first(front: Front) -> None:
    problem(send(front, ACTIVATIONS, picture(), "a.png", network="unseen"), 503, "not-described")
    assert front.messages() == [("deepvis.describe", ["unseen"])]


def test_an_owner_has_so_many_at_once(make_front: MakeFront) -> None:
    front = make_front(max_open_activations=1)
    assert send(front, ACTIVATIONS, picture(), "a.png").status_code == 202
    assert "DEEPVIS" not in problem(send(front, RECORDINGS, video(3), "a.mp4"), 409, "over-quota")["detail"]


def test_what_is_done_is_given_out_whole_or_in_parts_and_can_be_forgotten(front: Front) -> None:
    job_id = send(front, RECORDINGS, video(3), "walk.mp4").json["id"]
    content = bytes(range(200))
    parts = [
        StoredPart(front.services.store.put(content[at : at + 64]), len(content[at : at + 64]))
        for at in range(0, 200, 64)
    ]
    with front.services.sessions.begin() as session:
        lease = activations.begin(session, job_id, "t", 60, 3)
        assert lease is not None
        files = {"recording.webm": parts, "layer-0.safetensors": parts[:1]}
        activations.finish(session, lease, ActivationResult(frames=3, seconds=0.3), files)
    job = front.client.get(f"{RECORDINGS}/{job_id}").json
    assert (job["state"], job["done"]) == ("done", 3)
    film = front.client.get(job["links"]["recording.webm"])
    assert (film.data, film.content_type, film.headers["Accept-Ranges"]) == (content, "video/webm", "bytes")
    for asked, there in (("bytes=60-69", content[60:70]), ("bytes=190-", content[190:]), ("bytes=-5", content[-5:])):
        part = front.client.get(job["links"]["recording.webm"], headers={"Range": asked})
        assert (part.status_code, part.data) == (206, there)
        assert part.headers["Content-Range"].endswith("/200")
    problem(front.client.get(job["links"]["recording.webm"], headers={"Range": "bytes=900-"}), 416, "bad-request")
    etag = {"If-None-Match": film.headers["ETag"]}
    assert front.client.get(job["links"]["recording.webm"], headers=etag).status_code == 304
    numbers = front.client.get(job["links"]["layer-0.safetensors"])
    assert numbers.content_type == "application/octet-stream"
    assert numbers.headers["Content-Disposition"].startswith("attachment")
    assert front.client.delete(job["links"]["self"]).status_code == 204
    problem(front.client.get(job["links"]["recording.webm"]), 404, "not-found")
    problem(front.client.delete(job["links"]["self"]), 404, "not-found")


def test_who_may_change_a_job(closed: Front) -> None:
    ann, bob = (bearer(closed.token(name, Scope.SUBMIT)) for name in ("ann", "bob"))
    reader, admin = bearer(closed.token("eve", Scope.READ)), bearer(closed.token("root", Scope.ADMIN))
    problem(send(closed, ACTIVATIONS, picture(), "a.png", reader), 403, "insufficient-scope")
    address = send(closed, ACTIVATIONS, picture(), "a.png", ann).json["links"]["self"]
    assert closed.client.get(address, headers=reader).json["owner"] == "ann"
    for headers in (bob, reader):
        problem(closed.client.post(f"{address}/cancel", headers=headers), 403, "insufficient-scope")
        problem(closed.client.delete(address, headers=headers), 403, "insufficient-scope")
    cancelled = closed.client.post(f"{address}/cancel", headers=ann)
    assert (cancelled.status_code, cancelled.json["state"]) == (200, "cancelled")
    assert closed.client.delete(address, headers=admin).status_code == 204
