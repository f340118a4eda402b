"""The web front: REST under /api/v1 and the gallery's pages. It never imports torch."""

from api.app import create_app

__all__ = ["create_app"]
