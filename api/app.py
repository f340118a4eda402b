"""The application factory."""

import json
from importlib.metadata import version
from typing import Any

from apiflask import APIFlask
from flask import Request
from flask.json.provider import DefaultJSONProvider

from api import gallery, problems, rest, security
from api.services import EXTENSION, Services
from broker.app import make_celery
from core.settings import Settings
from db.session import check_schema, make_engine, make_sessions
from store import open_store

API = "/api/v1"


class JsonProvider(DefaultJSONProvider):
    """JSON whose every text can be stored: no NUL, no half of a surrogate pair; nesting has its limit."""

    sort_keys = False

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse `s`.

        Raises:
            ValueError: it is not JSON, nests too deep, or holds text that cannot be stored.
        """
        try:
            value = super().loads(s, **kwargs)
            text = json.dumps(value, ensure_ascii=False)
        except RecursionError as error:
            raise ValueError("it nests too deep") from error
        text.encode()
        if "\\u0000" in text.replace("\\\\", ""):
            raise ValueError("it holds a NUL character")
        return value


class JsonRequest(Request):
    """A request whose malformed JSON body is answered with the reason."""

    def on_json_loading_failure(self, e: ValueError | None) -> Any:
        raise problems.MalformedJson(f"The body is not valid JSON: {e}.", "Send one JSON object in UTF-8.") from e


def create_app(settings: Settings) -> APIFlask:
    """The web front over the database, picture store and broker that `settings` name.

    Raises:
        BadSetting: the database is not reachable or not migrated, or an address of a part is malformed.
    """
    app = APIFlask(
        __name__,
        title="deepvis",
        version=version("deepvis"),
        spec_path=f"{API}/openapi.json",
        docs_path=None,  # ours needs no script and no network: api/rest/reference.py
        json_errors=False,
        static_folder=None,  # type: ignore[arg-type]  # Flask's way to say none
    )
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.request_class = JsonRequest
    app.json = JsonProvider(app)
    app.extensions[EXTENSION] = make_services(settings)
    problems.register(app)
    security.register(app)
    rest.register(app)
    app.register_blueprint(gallery.blueprint)
    return app


def make_services(settings: Settings) -> Services:
    """Open the database and the store, and prepare the broker's client (it connects when it first sends)."""
    engine = make_engine(settings.resolved_database_url)
    check_schema(engine)
    return Services(settings, make_sessions(engine), open_store(settings.resolved_store_url), make_celery(settings))
