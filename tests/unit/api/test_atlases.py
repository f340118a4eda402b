"""Atlases over REST: created, listed, cancelled, tried again."""

import pytest

from core.recipes import FOURIER
from core.specs import DeviceKind, Scope
from tests.unit.api.conftest import Front, MakeFront, Pictured, bearer, problem

WISH = {"network": "tiny", "layers": ["conv"], "units": ["3", "0-1", 1], "recipes": ["fourier"], "seeds": 2, "steps": 7}


def test_create_answers_at_once_with_the_atlas_and_its_links(front: Front) -> None:
    response = front.client.post("/api/v1/atlases", json=WISH)
    assert response.status_code == 202
    atlas = response.json
    assert atlas["state"] == "queued"
    assert atlas["spec"]["units"] == [0, 1, 3]
    assert atlas["spec"]["recipes"][0]["steps"] == 7
    assert response.headers["Location"] == atlas["links"]["self"] == f"/api/v1/atlases/{atlas['id']}"
    for name in ("self", "progress", "events", "network"):
        assert front.client.get(atlas["links"][name], buffered=False).status_code == 200, name
    assert front.messages() == [("deepvis.plan", [atlas["id"]])]


def test_defaults_are_every_layer_and_unit_one_seed_five_recipes(front: Front) -> None:
    spec = front.client.post("/api/v1/atlases", json={"network": "tiny"}).json["spec"]
    assert (spec["layers"], spec["units"], spec["seeds"]) == ([], [], 1)
    assert [recipe["name"] for recipe in spec["recipes"]] == ["fourier", "bold", "etched", "soft", "sparse"]


def test_a_recipe_may_be_given_whole(front: Front) -> None:
    whole = {"name": "mine", "steps": 5, "method": {"method": "pixels", "decay": 0.1}}
    spec = front.client.post("/api/v1/atlases", json={**WISH, "recipes": [whole, "bold"], "steps": None}).json["spec"]
    assert [recipe["name"] for recipe in spec["recipes"]] == ["mine", "bold"]
    assert spec["recipes"][0]["method"]["decay"] == 0.1


def test_the_same_key_and_body_is_the_same_atlas(front: Front) -> None:
    headers = {"Idempotency-Key": "key-1"}
    first = front.client.post("/api/v1/atlases", json=WISH, headers=headers)
    again = front.client.post("/api/v1/atlases", json=WISH, headers=headers)
    assert again.status_code == 202
    assert again.json["id"] == first.json["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert len(front.messages()) == 1
    problem(front.client.post("/api/v1/atlases", json={**WISH, "seeds": 1}, headers=headers), 409, "conflict")
    assert front.counts()["atlases"] == 1


def test_a_key_that_no_header_can_hold_is_refused(front: Front) -> None:
    response = front.client.post("/api/v1/atlases", json=WISH, headers={"Idempotency-Key": "x" * 201})
    assert problem(response, 422, "invalid-request")["errors"][0]["location"] == "headers"


def test_layers_of_a_network_nobody_has_looked_at_are_asked_for(front: Front) -> None:
    response = front.client.post("/api/v1/atlases", json={"network": "unseen", "layers": ["conv"]})
    problem(response, 503, "not-described")
    assert response.headers["Retry-After"] == "3"
    assert front.messages() == [("deepvis.describe", ["unseen"])]
    assert front.counts()["atlases"] == 0


def test_a_whole_network_nobody_has_looked_at_is_accepted(front: Front) -> None:
    assert front.client.post("/api/v1/atlases", json={"network": "unseen"}).status_code == 202


def test_more_unfinished_atlases_than_allowed_are_refused(make_front) -> None:
    front = make_front(max_open_atlases=1)
    first = front.client.post("/api/v1/atlases", json=WISH).json["links"]
    problem(front.client.post("/api/v1/atlases", json=WISH), 409, "over-quota")
    front.client.post(first["cancel"])
    second = front.client.post("/api/v1/atlases", json=WISH).json["links"]
    problem(front.client.post(first["retry"]), 409, "over-quota")
    front.client.post(second["cancel"])
    assert front.client.post(first["retry"]).status_code == 202


def test_lists_are_paged_newest_first(front: Front) -> None:
    made = [front.client.post("/api/v1/atlases", json={"network": "tiny"}).json["id"] for _ in range(3)]
    first = front.client.get("/api/v1/atlases?limit=2")
    assert [item["id"] for item in first.json["items"]] == made[:0:-1]
    address = first.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    front.client.post("/api/v1/atlases", json={"network": "tiny"})  # shifts nothing
    second = front.client.get(address)
    assert [item["id"] for item in second.json["items"]] == made[:1]
    assert second.json["next_cursor"] is None
    assert "Link" not in second.headers


def test_lists_can_be_of_one_network(front: Front) -> None:
    front.client.post("/api/v1/atlases", json={"network": "tiny"})
    assert front.client.get("/api/v1/atlases?network=unseen").json["items"] == []
    assert len(front.client.get("/api/v1/atlases?network=tiny").json["items"]) == 1


def test_progress_counts_what_is_done(front: Front, pictured: Pictured) -> None:
    found = front.client.get(f"/api/v1/atlases/{pictured.atlas}/progress").json
    assert (found["state"], found["images"], found["images_done"]) == ("running", 6, 2)
    assert found["shards"] == {"done": 1, "pending": 2}
    assert front.client.get(f"/api/v1/atlases/{pictured.atlas}").json["progress"]["images_done"] == 2


def test_cancel_then_resume(front: Front, pictured: Pictured) -> None:
    cancelled = front.client.post(f"/api/v1/atlases/{pictured.atlas}/cancel")
    assert (cancelled.status_code, cancelled.json["state"]) == (200, "cancelled")
    assert cancelled.json["progress"]["shards"] == {"done": 1, "cancelled": 2}
    resumed = front.client.post(f"/api/v1/atlases/{pictured.atlas}/retry")
    assert (resumed.status_code, resumed.json["state"]) == (202, "running")
    problem(front.client.post(f"/api/v1/atlases/{pictured.atlas}/retry"), 409, "conflict")


def test_an_atlas_cancelled_before_its_plan_is_queued_again(front: Front) -> None:
    atlas = front.client.post("/api/v1/atlases", json=WISH).json
    front.client.post(atlas["links"]["cancel"])
    front.messages()
    assert front.client.post(atlas["links"]["retry"]).json["state"] == "queued"
    assert front.messages() == [("deepvis.plan", [atlas["id"]])]


def test_an_atlas_says_whose_it_is_and_what_was_wished(front: Front) -> None:
    plain = front.client.post("/api/v1/atlases", json=WISH).json
    assert (plain["owner"], plain["device_kind"], plain["priority"], plain["weight"]) == ("local", "any", None, 1)
    assert plain["progress"]["images"] == 6  # three units of one layer, one recipe, two seeds
    asked = {**WISH, "device": "gpu", "priority": "batch", "weight": 0.5}
    atlas = front.client.post("/api/v1/atlases", json=asked).json
    assert (atlas["device_kind"], atlas["priority"], atlas["weight"]) == ("gpu", "batch", 0.5)
    assert front.messages(DeviceKind.GPU) == [("deepvis.plan", [atlas["id"]])]
    listed = front.client.get("/api/v1/atlases").json["items"][0]
    assert {name: listed[name] for name in ("owner", "device_kind", "priority")} == {
        "owner": "local",
        "device_kind": "gpu",
        "priority": "batch",
    }
    for wrong in ({"device": "tpu"}, {"priority": "first"}):
        problem(front.client.post("/api/v1/atlases", json={**WISH, **wrong}), 422, "invalid-request")


def test_an_unfinished_atlas_is_weighed(front: Front) -> None:
    links = front.client.post("/api/v1/atlases", json=WISH).json["links"]
    assert front.client.post(links["weight"], json={"weight": 2.5}).json["weight"] == 2.5
    for wrong in ({"weight": 0}, {"weight": 101}, {"weight": "x"}, {}, {"weight": 1, "more": 1}):
        problem(front.client.post(links["weight"], json=wrong), 422, "invalid-request")
    front.client.post(links["cancel"])
    problem(front.client.post(links["weight"], json={"weight": 1}), 409, "conflict")


def test_an_unknown_atlas_is_not_found(front: Front) -> None:
    for path in ("", "/progress", "/events"):
        problem(front.client.get(f"/api/v1/atlases/nope{path}"), 404, "not-found")
    for path in ("/cancel", "/retry"):
        problem(front.client.post(f"/api/v1/atlases/nope{path}"), 404, "not-found")
    problem(front.client.post("/api/v1/atlases/nope/weight", json={"weight": 1}), 404, "not-found")


def test_recipes_are_listed_with_their_hashes(front: Front) -> None:
    items = front.client.get("/api/v1/recipes").json["items"]
    assert [item["name"] for item in items if item["default"]] == ["fourier", "bold", "etched", "soft", "sparse"]
    assert items[0]["hash"] == FOURIER.content_hash()
    shown = front.client.get("/api/v1/recipes/fourier").json
    assert shown == items[0]
    assert (
        front.client.post("/api/v1/atlases", json={"network": "tiny", "recipes": [shown["recipe"]]}).status_code == 202
    )
    assert "'fourier'" in problem(front.client.get("/api/v1/recipes/furier"), 404, "not-found")["remedy"]


def test_only_an_admin_asks_to_be_served_first(front: Front) -> None:
    body = {**WISH, "priority": "interactive"}
    headers = bearer(front.token("bob", Scope.SUBMIT))
    before = front.counts()
    document = problem(front.client.post("/api/v1/atlases", json=body, headers=headers), 403, "insufficient-scope")
    assert "small atlases are interactive" in document["remedy"]
    assert front.counts() == before
    made = front.client.post("/api/v1/atlases", json=body, headers=bearer(front.token("root")))
    assert made.json["priority"] == "interactive"


@pytest.mark.parametrize("weight", [1e-306, 0.009, 100.1, 0, -1])
def test_weights_within_bounds(front: Front, weight: float) -> None:
    problem(front.client.post("/api/v1/atlases", json={**WISH, "weight": weight}), 422, "invalid-request")
    made = front.client.post("/api/v1/atlases", json={**WISH, "weight": 0.01}).json
    problem(front.client.post(made["links"]["weight"], json={"weight": weight}), 422, "invalid-request")


def test_an_atlas_is_of_so_many_images_only(make_front: MakeFront) -> None:
    front = make_front(max_images_per_atlas=1)
    document = problem(front.client.post("/api/v1/atlases", json={**WISH, "seeds": 9}), 409, "over-quota")
    assert "DEEPVIS_MAX_IMAGES_PER_ATLAS" in document["remedy"]
    assert front.counts()["atlases"] == 0
