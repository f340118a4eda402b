"""The entry for WSGI servers:

    gunicorn --worker-class api.serving.Worker --threads 16 --logger-class api.logs.Logger 'api.wsgi:application()'

Threads, because a page's event stream holds one while it lasts. Take one process for SQLite, more for PostgreSQL.
"""

from apiflask import APIFlask

from api import logs
from api.app import create_app
from core.settings import load_settings


def application() -> APIFlask:
    """The application with the settings of the environment.

    Raises:
        BadSetting: a setting is wrong, or the database cannot be used.
    """
    settings = load_settings()
    logs.set_up(settings)
    return create_app(settings)
