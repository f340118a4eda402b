"""The metrics of the service and of this server, for Prometheus."""

from apiflask import APIBlueprint
from flask import Response, current_app
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from api.metrics import EXTENSION

blueprint = APIBlueprint("metrics", __name__, tag="Service")


@blueprint.get("/metrics")
@blueprint.doc(responses={200: {"description": "The metrics as text", "content": {"text/plain": {}}}})  # type: ignore[arg-type]  # as APIFlask takes it
def show_metrics() -> Response:
    """Queue, workers, atlases and requests in Prometheus's text format.

    What comes from the database is at most five seconds old.
    """
    registry: CollectorRegistry = current_app.extensions[EXTENSION]
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
