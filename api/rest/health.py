"""Whether this process lives, and whether it can do its work: for whoever runs it."""

from typing import Any, Literal

from apiflask import APIBlueprint
from flask import current_app
from pydantic import BaseModel, Field

from api.readiness import Readiness, readiness

blueprint = APIBlueprint("health", __name__, tag="Service")


class Health(BaseModel):
    """An answer to a probe."""

    status: Literal["ok"] = Field(default="ok", description="Always ok: who cannot answer does not")


_NOT_READY: dict[str, Any] = {
    "description": "It is not ready; which part is why",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Readiness"}}},
}


@blueprint.get("/healthz")
@blueprint.output(Health)
def healthz() -> Health:
    """Whether the process answers.

    Needs no token and touches nothing else.
    """
    return Health()


@blueprint.get("/readyz")
@blueprint.output(Readiness)
@blueprint.doc(responses={503: _NOT_READY})  # type: ignore[arg-type]  # APIFlask takes any response object
def readyz() -> tuple[Readiness, int]:
    """Whether the database and the picture store can be used.

    Needs no token, and answers within two seconds whatever hangs. The broker is looked at but not needed: without it
    atlases are accepted all the same, and workers notice them in the database.
    """
    found = readiness(current_app)
    return found, 200 if found.status == "ready" else 503
