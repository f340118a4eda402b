"""Asking workers for things: the database first, then a message, which may fail without harm."""

import logging
from collections.abc import Callable
from functools import partial

from celery import Celery
from flask import Flask, Response

from api.problems import answer
from api.security.callers import may
from api.security.forgery import is_own_or_no_page
from api.services import services
from broker import messages
from core.activation_specs import ActivationKind
from core.errors import NotDescribed, NotReady
from core.specs import DeviceKind, Scope
from db import networks

log = logging.getLogger(__name__)


def ask_for_plan(atlas_id: str, device_kind: str) -> None:
    """Tell a worker on a device of the atlas's kind that it waits to be planned."""
    _tell(partial(messages.send_plan, device_kind=DeviceKind(device_kind)), atlas_id)


def ask_for_activations(job_id: str, kind: ActivationKind) -> None:
    """Tell a worker that a picture or a video waits to be looked at."""
    _tell(partial(messages.send_activations, kind=kind), job_id)


def ask_for_description(network: str) -> None:
    """Ask a worker to find the layers of `network`, unless one is at it.

    Raises:
        UnknownNetwork: there is no network of that name.
    """
    with services().sessions.begin() as session:
        wanted = networks.request_description(session, network)
    if wanted:
        _tell(messages.send_describe, network)


def ask_for_search(search_id: str) -> None:
    """Tell a worker that a picture waits to be looked at."""
    _tell(messages.send_search, search_id)


def register(app: Flask) -> None:
    """Whenever the layers of a network are missed, ask for them; the client comes back for them.

    Not for a page of another site: an image whose address is ours must not make a worker load a network. Nor for a
    token that only allows reading.
    """

    @app.errorhandler(NotDescribed)
    def not_described(error: NotDescribed) -> Response:
        if is_own_or_no_page() and may(Scope.SUBMIT):
            ask_for_description(error.network)
        return answer(error)


def _tell(send: Callable[[Celery, str], None], name: str) -> None:
    """Send a message. Without a broker workers find the work in the database by themselves, a little later."""
    try:
        send(services().celery, name)
    except NotReady as error:
        log.warning("No message was sent for %s; workers will notice it in the database: %s", name, error)
