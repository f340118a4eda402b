"""The gallery: server-rendered pages over the same queries as the REST API."""

from api.gallery.routes import blueprint

__all__ = ["blueprint"]
