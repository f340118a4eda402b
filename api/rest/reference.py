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
    return render_template(
        "rest/reference.html", document=document, groups=_groups(document), limits=limits, example=json.dumps
    )


@blueprint.get("/problems")
def problems() -> str:
    """Every kind of problem."""
    return render_template("rest/problems.html", shown=[_kind(kind) for _, kind in sorted(kinds().items())])


@blueprint.get("/problems/<slug>")
def problem(slug: str) -> str:
    """One kind of problem: the page that a problem document's `type` names."""
    known = kinds()
    if slug not in known:
        raise NotFound(f"There is no kind of problem named {slug!r}.", nearest(slug, known))
    return render_template("rest/problems.html", shown=[_kind(known[slug])], one=True)


def _kind(kind: type[DeepvisError]) -> Kind:
    meaning = inspect.cleandoc(kind.__doc__ or "").split("\n\n", maxsplit=1)[0].replace("`", "")
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


def limits(schema: dict[str, Any]) -> str:
    """What a value is held to, in words: "from 0, up to 32", "over 0", "up to 200 characters"."""
    words = _LIMITS if schema.get("type") in {"integer", "number"} else _LENGTHS
    said = [text.format(schema[key]) for key, text in words.items() if key in schema]
    return ", ".join(said)


_LIMITS = {"minimum": "from {}", "exclusiveMinimum": "over {}", "maximum": "up to {}", "exclusiveMaximum": "below {}"}
_LENGTHS = {
    "minLength": "at least {} long",
    "maxLength": "up to {} characters",
    "maxItems": "up to {} items",
    "minItems": "at least {} items",
    "pattern": "like {}",
}
