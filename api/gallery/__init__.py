"""The gallery: server-rendered pages over the same queries as the REST API."""

from api.gallery import activation_routes
from api.gallery.routes import blueprint

__all__ = ["activation_routes", "blueprint"]
