"""The OpenAPI document, the pages made from it, and docs/api.md: each names every route."""

import re
import subprocess
import sys

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from api import problems
from api.rest.openapi import NO_NUL
from core.specs import Scope
from tests.conftest import ROOT
from tests.unit.api.conftest import Front, MakeFront, Pictured, bearer

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def rest_routes(front: Front) -> set[tuple[str, str]]:
    """(method, path) of every REST route; pages are not among them."""
    pages = ("gallery.", "reference.", "login.", "openapi.")
    return {
        (method, re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule))
        for rule in front.app.url_map.iter_rules()
        if not rule.endpoint.startswith(pages)
        for method in METHODS & (rule.methods or set())
    }


def test_the_document_is_valid_and_names_every_route(front: Front) -> None:
    document = front.client.get("/api/v1/openapi.json").json
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")
    named = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert named == rest_routes(front)


def test_operations_are_complete(front: Front) -> None:
    document = front.client.get("/api/v1/openapi.json").json
    operations = [each for methods in document["paths"].values() for each in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        assert operation["summary"].endswith("."), operation["operationId"]
        assert operation["tags"], operation["operationId"]
        assert "application/problem+json" in operation["responses"]["default"]["content"]
        described = (p.get("description") or p["schema"].get("description") for p in operation["parameters"])
        assert all(described), operation["operationId"]


def test_the_document_says_what_a_request_must_hold(front: Front) -> None:
    """Each of these was found by fuzzing: the document allowed what was refused."""
    document = front.client.get("/api/v1/openapi.json").json
    schemas = document["components"]["schemas"]
    assert document["paths"]["/api/v1/atlases"]["post"]["requestBody"]["required"] is True
    for name in ("PixelMethod", "FourierMethod"):  # which of them it is, in so many words
        assert "method" in schemas[name]["required"]
    assert schemas["AtlasWish"]["properties"]["layers"]["items"]["pattern"] == NO_NUL
    [name] = document["paths"]["/api/v1/networks/{name}"]["get"]["parameters"]
    assert name["schema"]["pattern"] == NO_NUL
    unit = schemas["AtlasWish"]["properties"]["units"]["items"]["oneOf"][0]
    assert (unit["minimum"], unit["maximum"]) == (0, 10_000_000)


def test_the_document_says_whether_a_token_is_needed(make_front: MakeFront) -> None:
    for required in (False, True):
        front = make_front(require_tokens=required)
        token = front.token(f"reader{int(required)}", Scope.READ)
        document = front.client.get("/api/v1/openapi.json", headers=bearer(token)).json
        assert ({} in document["paths"]["/api/v1/networks"]["get"]["security"]) is not required
        assert document["paths"]["/healthz"]["get"]["security"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/networks",
        "/api/v1/networks/{name}",
        "/api/v1/networks/{name}/layers",
        "/api/v1/networks/{name}/layers/{layer}",
        "/api/v1/networks/{name}/layers/{layer}/units",
        "/api/v1/networks/{name}/layers/{layer}/units/{unit}",
        "/api/v1/atlases",
        "/api/v1/atlases/{atlas_id}",
        "/api/v1/atlases/{atlas_id}/progress",
        "/api/v1/pictures/{picture_id}",
        "/api/v1/recipes",
        "/api/v1/recipes/{recipe}",
        "/api/v1/service",
        "/healthz",
    ],
)
def test_answers_are_as_the_document_says(front: Front, pictured: Pictured, path: str) -> None:
    document = front.client.get("/api/v1/openapi.json").json
    pointer = path.replace("~", "~0").replace("/", "~1")
    schema = f"urn:api#/paths/{pointer}/get/responses/200/content/application~1json/schema"
    registry = Registry().with_resource("urn:api", DRAFT202012.create_resource(document))
    values = {"name": "tiny", "layer": "conv", "unit": 0, "picture_id": 1, "recipe": "soft", "atlas_id": pictured.atlas}
    answer = front.client.get(path.format(**values))
    assert answer.status_code == 200
    jsonschema.Draft202012Validator({"$ref": schema}, registry=registry).validate(answer.json)


def test_the_reference_names_every_operation_and_document(front: Front) -> None:
    page = front.client.get("/api/v1/docs")
    assert page.status_code == 200
    document = front.client.get("/api/v1/openapi.json").json
    for methods in document["paths"].values():
        for operation in methods.values():
            assert f'id="{operation["operationId"]}"' in page.text
    for name in document["components"]["schemas"]:
        assert f'id="schema-{name}"' in page.text
    links = set(re.findall(r'href="#([^"]+)"', page.text))
    assert all(f'id="{link}"' in page.text for link in links)


@pytest.mark.parametrize("path", ["/api/v1/docs", "/problems", "/problems/unknown-layer"])
def test_pages_need_no_other_server(front: Front, path: str) -> None:
    page = front.client.get(path)
    loaded = re.findall(r'<(?:link|script|img)[^>]*(?:href|src)="([^"]+)"', page.text)
    assert loaded
    for address in loaded:
        assert address.startswith("/"), address
        with front.client.get(address) as part:
            assert part.status_code == 200, address
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|<script(?![^>]*\bsrc=)", page.text)  # the policy forbids them


def test_every_kind_of_problem_has_its_page(front: Front) -> None:
    listed = front.client.get("/problems").text
    for slug, kind in problems.kinds().items():
        assert f"/problems/{slug}" in listed
        page = front.client.get(f"/problems/{slug}")
        assert page.status_code == 200
        assert kind.title in page.text


def test_docs_name_every_route_and_nothing_else(front: Front) -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| (GET|POST|DELETE) \| `([^`]+)` \|", text, re.MULTILINE))
    assert rows == rest_routes(front)


def test_docs_name_every_kind_of_problem(front: Front) -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    rows = {(slug, int(status)) for slug, status in re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", text, re.MULTILINE)}
    assert rows == {
        (slug, kind.status) for slug, kind in problems.kinds().items() if kind.status != 500 or slug == "internal-error"
    }


def test_the_process_never_imports_torch(front: Front, pictured: Pictured) -> None:
    """A fresh process that serves pages and resources has neither torch nor the worker's rooms in memory."""
    program = f"""
import sys
from api import create_app
from core.settings import load_settings
client = create_app(load_settings(home={str(front.services.settings.home)!r}, broker_url="memory://")).test_client()
unit = "networks/tiny/layers/conv/units"
for path in ("/", "/networks/tiny", f"/{{unit}}/0", "/api/v1/networks", f"/api/v1/{{unit}}", "/api/v1/pictures/1/file",
             "/api/v1/atlases", "/api/v1/openapi.json", "/api/v1/docs", "/api/v1/service", "/nothing"):
    assert client.get(path).status_code == (404 if path == "/nothing" else 200), path
assert client.post("/api/v1/atlases", json={{"network": "tiny"}}).status_code == 202
rooms = {{name.partition(".")[0] for name in sys.modules}}
assert not rooms & {{"torch", "torchvision", "deepvis", "workers"}}, rooms
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120, cwd=ROOT)


@pytest.mark.parametrize("module", ["api", "api.app", "api.wsgi"])
def test_importing_does_no_work(module: str) -> None:
    program = f"import os; before = dict(os.environ); import {module}; assert dict(os.environ) == before"
    refuse = {"PATH": "", "DEEPVIS_HOME": "/nonexistent", "DEEPVIS_PORT": "no number"}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120, cwd=ROOT, env=refuse)
