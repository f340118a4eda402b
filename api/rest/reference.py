"""The browsable reference: the OpenAPI document and the kinds of problems as pages, without script or network."""

import inspect
import json
from typing import Any, cast

from apiflask import APIBlueprint, APIFlask
from flask import current_app, render_template
from pydantic import BaseModel

from api.problems import kinds
from core.errors import DeepvisError, NotFound, nearest

blueprint = APIBlueprint(
    "reference",
    __name__,
    enable_openapi=False,
    template_folder="templates",
    static_folder="static",
    static_url_path="/api/v1/docs/static",
)


class Kind(BaseModel):
    """A kind of problem."""

    slug: str
    title: str
    status: int
    meaning: str


@blueprint.get("/api/v1/docs")
def docs() -> str:
    """The API reference."""
    document = cast(dict[str, Any], cast(APIFlask, current_app)._get_spec("json"))
    return render_template("rest/reference.html", document=document, groups=_groups(document), shape=shape)


@blueprint.get("/problems")
def problems() -> str:
    """Every kind of problem."""
    return render_template("rest/problems.html", kinds=[_kind(kind) for _, kind in sorted(kinds().items())])


@blueprint.get("/problems/<slug>")
def problem(slug: str) -> str:
    """One kind of problem: the page that a problem document's `type` names."""
    known = kinds()
    if slug not in known:
        raise NotFound(f"There is no kind of problem named {slug!r}.", nearest(slug, known))
    return render_template("rest/problems.html", kinds=[_kind(known[slug])], one=True)


def _kind(kind: type[DeepvisError]) -> Kind:
    meaning = inspect.cleandoc(kind.__doc__ or "").split("\n\n", maxsplit=1)[0]
    return Kind(slug=kind.slug, title=kind.title, status=kind.status, meaning=meaning)


def _groups(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The operations by tag, in the order of the tags."""
    operations = [
        {"path": path, "method": method.upper(), **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return [
        {**tag, "operations": [o for o in operations if tag["name"] in o.get("tags", [])]} for tag in document["tags"]
    ]


def shape(schema: dict[str, Any], document: dict[str, Any]) -> str:
    """A schema as an annotated outline in JSON's manner, two levels deep: enough to write a request by hand."""
    return json.dumps(_outline(schema, document, depth=3), indent=2, ensure_ascii=False)


def _outline(schema: dict[str, Any], document: dict[str, Any], depth: int) -> Any:
    if "$ref" in schema:
        schema = _resolve(schema["$ref"], document)
    kinds_of = schema.get("anyOf") or schema.get("oneOf")
    if kinds_of:
        return _either([_outline(one, document, depth) for one in kinds_of])
    if schema.get("type") == "array":
        return [_outline(schema.get("items", {}), document, depth)]
    if "properties" in schema:
        if depth == 0:
            return schema.get("title", "object")
        return {name: _outline(part, document, depth - 1) for name, part in schema["properties"].items()}
    return _scalar(schema)


def _either(outlines: list[Any]) -> Any:
    """One outline for a choice: words side by side, else the first that has parts."""
    present = [outline for outline in outlines if outline != "null"]
    if all(isinstance(outline, str) for outline in outlines):
        return " or ".join(outlines)
    return next(outline for outline in present if not isinstance(outline, str))


def _resolve(reference: str, document: dict[str, Any]) -> dict[str, Any]:
    part: Any = document
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return cast(dict[str, Any], part)


def _scalar(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return " or ".join(map(repr, schema["enum"]))
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    limits = f" {low}..{high if high is not None else ''}" if low is not None else ""
    return f"{schema.get('format') or schema.get('type', 'anything')}{limits}"
