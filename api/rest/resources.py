"""All of the REST API: its resources, one module each, and the few pages that belong to the API itself."""

from apiflask import APIFlask

from api.rest import (
    activations,
    answers,
    asking,
    atlases,
    events,
    health,
    live,
    login,
    metrics,
    networks,
    openapi,
    parameters,
    pictures,
    probe_sets,
    recipes,
    recordings,
    reference,
    searches,
    service,
    sheets,
    units,
    views,
)

_MODULES = (
    networks,
    atlases,
    events,
    live,
    units,
    pictures,
    probe_sets,
    answers,
    searches,
    activations,
    recordings,
    recipes,
    service,
    metrics,
    health,
    sheets,
    views,
    reference,
    login,
)


def register(app: APIFlask) -> None:
    """Add every resource to `app`, and complete its OpenAPI document."""
    openapi.prepare(app)
    asking.register(app)
    parameters.register(app)
    for module in _MODULES:
        app.register_blueprint(module.blueprint)
