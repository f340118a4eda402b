"""Whether this process lives, and whether it can do its work: for whoever runs it."""

from apiflask import APIBlueprint
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from api.services import services
from core.errors import NotReady

blueprint = APIBlueprint("health", __name__, tag="Service")


class Health(BaseModel):
    """An answer to a probe."""

    status: str = Field(description="ok")


@blueprint.get("/healthz")
@blueprint.output(Health)
def healthz() -> Health:
    """Whether the process answers.

    Needs no token and touches nothing else.
    """
    return Health(status="ok")


@blueprint.get("/readyz")
@blueprint.output(Health)
def readyz() -> Health:
    """Whether the database answers.

    The broker is not asked: without it atlases are accepted all the same, and workers notice them.
    """
    try:
        with services().sessions() as session:
            session.execute(text("SELECT 1 FROM networks LIMIT 1"))
    except SQLAlchemyError as error:
        raise NotReady("The database does not answer.", "Try again in a moment.") from error
    return Health(status="ok")
