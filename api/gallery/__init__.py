"""The gallery: server-rendered pages over the same queries as the REST API."""

from api.gallery import probe_set_routes, search_routes  # noqa: F401  # they add their addresses to the blueprint
from api.gallery.routes import blueprint

__all__ = ["blueprint"]
