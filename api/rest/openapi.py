"""What completes the OpenAPI document that APIFlask derives from the views."""

from collections.abc import Iterator
from typing import Any

from apiflask import APIFlask

from api.problems import MEDIA_TYPE, Problem
from api.security import callers, scopes
from api.security.cookies import SESSION
from api.services import services
from api.uploads import ARCHIVES
from core.picture_formats import FORMATS
from core.specs import Scope

DESCRIPTION = """\
Ask for an atlas of a network and browse what comes of it. Every list is paged by `limit` and `cursor`; every error is
a problem document (RFC 9457) that says what is wrong and what would be right, see `/problems`.
"""
TAGS = [
    {"name": "Networks", "description": "What can be looked into: networks and their layers"},
    {"name": "Atlases", "description": "Asking for pictures, and how far that is"},
    {"name": "Units", "description": "What came of it, unit by unit"},
    {"name": "Pictures", "description": "The pictures and their thumbnails"},
    {"name": "Live", "description": "What a network makes of pictures as they come"},
    {"name": "Probe sets", "description": "Named collections of images to put before a network"},
    {"name": "Answers", "description": "What units answer to in the images of a probe set, and searches by it"},
    {"name": "Activations", "description": "What a picture or a video of yours does to a network"},
    {"name": "Recipes", "description": "How pictures are made"},
    {"name": "Service", "description": "Workers, queues and health"},
]
_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token. Its scope is read, submit or admin; each includes those before it",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION,
        "description": f"Set by the form at /login; over HTTPS its name is __Host-{SESSION}",
    },
}
_IN_ADDRESSES = {
    "name": "Name of the network",
    "layer": "Name of the layer; dots and slashes may stand as they are",
    "unit": "Number of the unit, from 0",
    "recipe": "Name of the recipe",
    "atlas_id": "The atlas's `id`",
    "picture_id": "The picture's `id`",
    "session_id": "The live session's `id`",
    "set_id": "The probe set's `id`",
    "number": "Number of the image in its set, from 0",
    "search_id": "The search's `id`",
    "job_id": "The `id` of the activations or the recording",
    "file": "Name of the file, as in `files`",
    "key": "SHA-256 of the sheet or views, 64 hex digits",
}
_BYTES = {"type": "string", "format": "binary"}
_FILES = {
    "searches.search_by_picture": {
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"picture": _BYTES}, "required": ["picture"]}
        },
        **{each.media_types[0]: {"schema": _BYTES} for each in FORMATS},
    },
    "live.send_frame": {each.media_types[0]: {"schema": _BYTES} for each in FORMATS},
    "sets.add_images": {kind: {"schema": _BYTES} for kind in ARCHIVES["sets.add_images"]},
}
"""By endpoint: bodies that are files, which APIFlask knows nothing of."""
NO_NUL = r"^[^\x00]*$"
_FIXED = {"pattern", "enum", "const", "format"}
_ANYTHING_MAY_GO_WRONG = {
    "description": "A problem document: what is wrong and what would be right",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def prepare(app: APIFlask) -> None:
    """Set the document's head, and have every operation name its problem documents."""
    app.config.update(
        DESCRIPTION=DESCRIPTION,
        LICENSE={"name": "MIT", "identifier": "MIT"},
        SECURITY_SCHEMES=_SCHEMES,
        SUCCESS_DESCRIPTION="What was asked for",
        SERVERS=[{"url": "/"}],
        AUTO_SERVERS=False,
        AUTO_OPERATION_ID=True,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        AUTO_404_RESPONSE=False,
    )
    app.spec_callback = complete


def complete(document: dict[str, Any] | str) -> dict[str, Any] | str:
    """`document` with the security requirement and problem documents."""
    if isinstance(document, str):  # YAML, which is not served
        return document
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    _name_once(document, schemas)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    _require_tags(schemas)
    document["tags"] = TAGS
    for operations in document["paths"].values():
        for operation in operations.values():
            _complete_operation(operation, schemas)
    return document


def _complete_operation(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    method, blueprint, operation["operationId"] = operation["operationId"].split("_", 2)  # as APIFlask makes it
    endpoint = f"{blueprint}.{operation['operationId']}"
    if endpoint in _FILES:
        operation["requestBody"] = {"content": _FILES[endpoint]}
    if (body := operation.get("requestBody")) is not None:
        body["required"] = True
        refuse_nul(body["content"], schemas)
    refuse_nul(operation["parameters"], schemas)
    operation["responses"]["default"] = _ANYTHING_MAY_GO_WRONG
    operation["security"] = _security(scopes.needed(endpoint, method.upper()))
    for parameter in operation["parameters"]:
        if parameter["in"] == "header":
            parameter["name"] = parameter["name"].title()
        if parameter["in"] == "path":
            parameter["description"] = _IN_ADDRESSES[parameter["name"]]


def _security(needed: Scope | None) -> list[dict[str, list[str]]]:
    """Any one of these is enough; the empty one, if there is one, is for this machine, which needs no token."""
    if needed is None:
        return []
    without: list[dict[str, list[str]]] = [] if callers.tokens_are_required(services().settings) else [{}]
    return [{"token": [needed.value]}, {"cookie": [needed.value]}, *without]


def _name_once(document: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Name every model by its own name: APIFlask writes it once for each model that holds it, as `Holder.Model`."""
    for name in [name for name in schemas if "." in name]:
        schemas.setdefault(_short(name), schemas.pop(name))
    _rename_references(document)


def _rename_references(part: Any) -> None:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            part["$ref"] = _short_reference(part["$ref"])
        if isinstance(mapping := part.get("mapping"), dict):
            mapping.update({key: _short_reference(value) for key, value in mapping.items()})
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            _rename_references(inner)


def _short_reference(reference: str) -> str:
    folder, _, name = reference.rpartition("/")
    return f"{folder}/{_short(name)}"


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _require_tags(schemas: dict[str, Any]) -> None:
    """Say that the field which tells the members of a union apart is required: it has a default only in Python."""
    for union in [part for schema in schemas.values() for part in _parts(schema) if "discriminator" in part]:
        discriminator = union["discriminator"]
        for reference in discriminator.get("mapping", {}).values():
            required = schemas[_name(reference)].setdefault("required", [])
            if discriminator["propertyName"] not in required:
                required.append(discriminator["propertyName"])


def refuse_nul(part: Any, schemas: dict[str, Any], seen: frozenset[str] = frozenset()) -> None:
    """Say of every free text within `part` of a request that NUL is refused (`api.bodies`, `api.security`)."""
    for schema in _parts(part):
        if schema.get("type") == "string" and not _FIXED & schema.keys():
            schema["pattern"] = NO_NUL
        elif isinstance(reference := schema.get("$ref"), str) and (name := _name(reference)) not in seen:
            refuse_nul(schemas[name], schemas, seen | {name})


def _parts(part: Any) -> Iterator[dict[str, Any]]:
    """Every object within a part of the document, itself included."""
    if isinstance(part, dict):
        yield part
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for each in inner:
        yield from _parts(each)
