"""The service itself: its workers and how much waits for them."""

from apiflask import APIBlueprint

from api.services import services
from db.queries import service as queries

blueprint = APIBlueprint("service", __name__, url_prefix="/api/v1/service", tag="Service")


@blueprint.get("")
@blueprint.output(queries.ServiceView)
def show_service() -> queries.ServiceView:
    """Workers, and the depth of the queue, by the database."""
    parts = services()
    with parts.sessions() as session:
        return queries.get_service(session, alive_seconds=parts.settings.alive_seconds)
