"""Networks, layers, units, pictures, sheets, service and health over REST."""

from math import inf

from sqlalchemy import update

from api.readiness import EXTENSION, Kept
from core.recipes import FOURIER
from db import networks
from db.models import Picture
from tests.unit.api.conftest import Front, Pictured, problem, sha256

TINY = "/api/v1/networks/tiny"
UNITS = f"{TINY}/layers/conv/units"


def test_networks_are_listed_and_searched(front: Front) -> None:
    def names(query: str) -> list[str]:
        return [item["name"] for item in front.client.get(f"/api/v1/networks{query}").json["items"]]

    assert names("") == ["tiny", "unseen"]
    assert names("?q=TIN") == ["tiny"]
    assert names("?described=true") == ["tiny"]
    assert names("?limit=1") == ["tiny"]


def test_a_network_is_shown_with_its_layers_and_links(front: Front) -> None:
    network = front.client.get(TINY).json
    assert [layer["name"] for layer in network["layers"]] == ["conv", "hidden", "classes"]
    assert (network["state"], network["parameters"], network["input_shape"]) == ("described", 1234, [3, 8, 8])
    for address in ("self", "layers", "gallery"):
        assert front.client.get(network["links"][address]).status_code == 200


def test_an_activation_that_is_no_number_leaves_the_answers_json(front: Front, pictured: Pictured) -> None:
    """No worker stores one; JSON has no word for it, and readers refuse the whole answer."""
    with front.services.sessions.begin() as session:
        session.execute(update(Picture).where(Picture.unit == 0).values(activation=inf))
    for path in (f"{UNITS}?sort=activation", f"{UNITS}/0", "/api/v1/pictures/1"):
        answer = front.client.get(path)
        assert answer.status_code == 200
        assert "Infinity" not in answer.text


def test_layers_are_listed_in_forward_order_and_shown(front: Front) -> None:
    items = front.client.get(f"{TINY}/layers").json["items"]
    assert [(item["name"], item["units"], item["default"]) for item in items] == [
        ("conv", 6, True),
        ("hidden", 4, False),
        ("classes", 3, True),
    ]
    assert front.client.get(items[0]["links"]["self"]).json == items[0]
    assert front.client.get(items[0]["links"]["units"]).json["total"] == 6


def test_layers_nobody_has_found_are_asked_for_once(front: Front) -> None:
    for path in ("", "/conv", "/conv/units", "/conv/units/3"):
        response = front.client.get(f"/api/v1/networks/unseen/layers{path}")
        problem(response, 503, "not-described")
        assert response.headers["Retry-After"] == "3"
    assert front.messages() == [("deepvis.describe", ["unseen"])]
    assert front.client.get("/api/v1/networks/unseen").json["state"] == "describing"


def test_a_network_that_cannot_be_used_says_why_and_can_be_tried_again(front: Front) -> None:
    with front.services.sessions.begin() as session:
        networks.fail_description(session, "unseen", "no module named tusk")
    document = problem(front.client.get("/api/v1/networks/unseen/layers"), 422, "bad-network")
    assert "no module named tusk" in document["detail"]
    assert front.messages() == []
    again = front.client.post("/api/v1/networks/unseen/description")
    assert (again.status_code, again.json["state"]) == (202, "describing")
    assert front.messages() == [("deepvis.describe", ["unseen"])]


def test_units_show_pictures_and_wait_for_the_others(front: Front, pictured: Pictured) -> None:
    page = front.client.get(UNITS).json
    assert (page["total"], page["recipe"]["name"], page["seeds"]) == (6, "fourier", 1)
    first, dead, waiting = page["items"][:3]
    assert (first["state"], first["address"], first["activation"]) == ("ok", "conv:0", 0.0)
    assert first["thumbnail"] == {"sheet": sha256(pictured.sheet), "index": 0}
    assert front.client.get(first["links"]["file"]).data == pictured.png
    assert front.client.get(first["links"]["sheet"]).data == pictured.sheet
    assert (dead["state"], sorted(dead["links"])) == ("dead", ["picture", "self"])
    assert (waiting["state"], sorted(waiting["links"])) == (None, ["self"])


def test_units_are_paged_sorted_and_searched(front: Front, pictured: Pictured) -> None:
    first = front.client.get(f"{UNITS}?limit=4&recipe=fourier")
    assert [item["unit"] for item in first.json["items"]] == [0, 1, 2, 3]
    second = front.client.get(first.headers["Link"][1:].partition(">")[0])
    assert [item["unit"] for item in second.json["items"]] == [4, 5]
    strongest = front.client.get(f"{UNITS}?sort=activation&recipe={FOURIER.content_hash()}").json["items"]
    assert strongest[0]["unit"] == 0
    found = front.client.get(f"{TINY}/layers/classes/units?q=lem").json
    assert [(item["unit"], item["label"]) for item in found["items"]] == [(1, "Lemon")]


def test_a_unit_is_shown_with_every_picture_and_its_neighbours(front: Front, pictured: Pictured) -> None:
    unit = front.client.get(f"{UNITS}/0").json
    assert (unit["address"], unit["weights_hash"]) == ("conv:0", "a" * 64)
    assert [group["recipe"]["name"] for group in unit["recipes"]] == ["fourier"]
    picture = unit["recipes"][0]["pictures"][0]
    assert front.client.get(picture["links"]["self"]).json == picture
    assert "previous" not in unit["links"]
    assert front.client.get(unit["links"]["next"]).json["unit"] == 1
    for name in ("self", "layer", "gallery"):
        assert front.client.get(unit["links"][name]).status_code == 200, name
    assert "next" not in front.client.get(f"{UNITS}/5").json["links"]


def test_layer_names_may_hold_dots_and_slashes(front: Front) -> None:
    from tests.integration import records

    names = ("features.0", "a/b.c", "units", "слой >; 1")
    source = records.SOURCE.model_copy(update={"name": "odd@V1"})
    with front.services.sessions.begin() as session:
        layers = [records.layer(name, order, 2) for order, name in enumerate(names)]
        records.describe(session, records.info(source, layers))
    for item, name in zip(front.client.get("/api/v1/networks/odd@V1/layers").json["items"], names, strict=True):
        assert front.client.get(item["links"]["self"]).json["name"] == name
        units = front.client.get(item["links"]["units"]).json["items"]
        assert front.client.get(units[1]["links"]["self"]).json["address"] == f"{name}:1"
        following = front.client.get(item["links"]["units"], query_string={"limit": 1}).headers["Link"]
        assert following.isascii()
        address = following.removeprefix("<").partition(">")[0]
        assert front.client.get(address).json["items"][0]["address"] == f"{name}:1"


def test_a_picture_carries_its_provenance(front: Front, pictured: Pictured) -> None:
    picture = front.client.get("/api/v1/pictures/1").json
    expected = {
        "network": "tiny",
        "layer": "conv",
        "unit": 0,
        "seed": 0,
        "best_step": 9,
        "device": "cpu",
        "seconds": 0.5,
    }
    assert expected.items() <= picture.items()
    assert picture["weights_hash"] == "a" * 64
    assert picture["recipe"]["hash"] == FOURIER.content_hash()


def test_files_are_immutable_and_sent_once(front: Front, pictured: Pictured) -> None:
    sheet = f"/sheets/{sha256(pictured.sheet)}.webp"
    for path, data, kind in (("/api/v1/pictures/1/file", pictured.png, "png"), (sheet, pictured.sheet, "webp")):
        response = front.client.get(path)
        assert (response.status_code, response.data, response.mimetype) == (200, data, f"image/{kind}")
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["ETag"] == f'"{sha256(data)}"'
        front.services.store.delete(sha256(data))  # whoever has it is answered without reading it
        for known in (response.headers["ETag"], f"W/{response.headers['ETag']}", f'"x", {response.headers["ETag"]}'):
            again = front.client.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.data) == (304, b"")
            assert again.headers["ETag"] == response.headers["ETag"]
        problem(front.client.get(path, headers={"If-None-Match": '"other"'}), 404, "not-found")


def test_a_file_has_a_name_to_be_saved_under(front: Front, pictured: Pictured) -> None:
    disposition = front.client.get("/api/v1/pictures/1/file").headers["Content-Disposition"]
    assert disposition == 'inline; filename="tiny_conv_0_fourier_0.png"'


def test_a_dead_unit_says_so_instead_of_a_black_square(front: Front, pictured: Pictured) -> None:
    assert front.client.get("/api/v1/pictures/2").json["state"] == "dead"
    document = problem(front.client.get("/api/v1/pictures/2/file"), 404, "not-found")
    assert "conv:1" in document["detail"]
    assert "dead" in document["detail"]


def test_bytes_that_are_no_picture_are_not_sent_as_one(front: Front, pictured: Pictured) -> None:
    key = front.services.store.put(b"not a picture")
    with front.services.sessions.begin() as session:
        session.execute(update(Picture).where(Picture.id == 1).values(blob=key))
    problem(front.client.get("/api/v1/pictures/1/file"), 404, "not-found")


def test_the_service_tells_of_workers_and_queue(front: Front, pictured: Pictured) -> None:
    found = front.client.get("/api/v1/service").json
    assert (found["alive"], found["workers"]) == (0, [])
    assert found["queue"]["pending"] == 2
    assert found["queue"]["oldest_pending_seconds"] >= 0


def test_health(front: Front) -> None:
    assert front.client.get("/healthz").json == {"status": "ok"}
    parts = {"database": "ok", "store": "ok", "broker": "ok"}
    assert front.client.get("/readyz").json == {"status": "ready", **parts}
    with front.services.sessions.begin() as session:
        session.connection().exec_driver_sql("DROP TABLE alembic_version")
    assert front.client.get("/healthz").status_code == 200
    front.app.extensions[EXTENSION] = Kept(front.app.extensions[EXTENSION].probes)  # a second later
    found = front.client.get("/readyz")
    assert found.status_code == 503
    assert found.json == {"status": "not ready", **parts, "database": "not migrated"}
