"""The gallery: server-rendered pages over the same queries as the REST API."""

from api.gallery import (  # they add their addresses to the blueprint
    activation_routes,  # noqa: F401
    probe_set_routes,  # noqa: F401
    search_routes,  # noqa: F401
)
from api.gallery.routes import blueprint

__all__ = ["blueprint"]
