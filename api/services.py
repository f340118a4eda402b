"""What every view needs, made once by `api.create_app` and read through `services()`."""

from dataclasses import dataclass, field

from celery import Celery
from flask import current_app
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from store import PictureStore

EXTENSION = "deepvis"


@dataclass(frozen=True)
class Services:
    """The parts of the installation that a request may use."""

    settings: Settings
    sessions: sessionmaker[Session]  # `with services().sessions() as s:` to read, `.begin()` to change
    store: PictureStore
    celery: Celery  # only to send messages
    label_counts: dict[str, list[int]] = field(default_factory=dict)  # see `api.gallery.probe_sets.label_counts`


def services() -> Services:
    """The services of the application that answers the present request."""
    found: Services = current_app.extensions[EXTENSION]
    return found
