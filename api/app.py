"""The application factory."""

from importlib.metadata import version

from apiflask import APIFlask

from api import gallery, metrics, problems, readiness, security
from api.bodies import JsonRequest
from api.rest import resources
from api.services import EXTENSION, Services
from broker.app import make_celery
from core.settings import Settings
from db.session import check_schema, make_engine, make_sessions
from store import open_store

API = "/api/v1"


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
    app.extensions[EXTENSION] = make_services(settings)
    metrics.register(app, app.extensions[EXTENSION])
    readiness.register(app, app.extensions[EXTENSION])
    problems.register(app)
    security.register(app)
    resources.register(app)
    app.register_blueprint(gallery.blueprint)
    return app


def make_services(settings: Settings) -> Services:
    """Open the database and the store, and prepare the broker's client (it connects when it first sends)."""
    engine = make_engine(settings.resolved_database_url)
    check_schema(engine)
    return Services(settings, make_sessions(engine), open_store(settings.resolved_store_url), make_celery(settings))
