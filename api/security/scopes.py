"""The one table of what each request needs."""

from core.specs import Scope

OPEN = frozenset(
    {
        "health.healthz",
        "health.readyz",
        "login.form",
        "login.enter",
        "login.leave",
        "gallery.static",
        "reference.static",
    }
)
"""Needs nothing: probes, which tell nothing, the way to log in and out, and what dresses the pages."""

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that need the scope "read", whatever they ask for."""

CHANGES = {
    "atlases.create_atlas": Scope.SUBMIT,
    "atlases.cancel_atlas": Scope.SUBMIT,  # of one's own; everybody's: admin, see `callers.check_owner`
    "atlases.retry_atlas": Scope.SUBMIT,
    "atlases.weigh_atlas": Scope.SUBMIT,
    "networks.describe_network": Scope.SUBMIT,
    "live.open_session": Scope.SUBMIT,  # it takes a worker's time
    "live.send_frame": Scope.SUBMIT,  # of one's own session
    "live.close_session": Scope.SUBMIT,
    "sets.begin_set": Scope.SUBMIT,
    "sets.add_images": Scope.SUBMIT,  # to one's own; everybody's: admin
    "sets.finish_set": Scope.SUBMIT,
    "sets.delete_set": Scope.SUBMIT,
    "gallery.add_probe_set": Scope.SUBMIT,
    "gallery.delete_probe_set": Scope.SUBMIT,
    "searches.search_by_picture": Scope.SUBMIT,
    "gallery.send_picture": Scope.SUBMIT,
    "activations.create_activations": Scope.SUBMIT,
    "activations.cancel_activations": Scope.SUBMIT,  # of one's own, as with atlases
    "activations.delete_activations": Scope.SUBMIT,
    "recordings.create_recording": Scope.SUBMIT,
    "recordings.cancel_recording": Scope.SUBMIT,
    "recordings.delete_recording": Scope.SUBMIT,
}
"""By endpoint. A change that is not listed needs the scope "admin"."""


def needed(endpoint: str | None, method: str) -> Scope | None:
    """The scope that a request needs; None if it needs no token at all. An address that does not exist needs "read"."""
    if endpoint in OPEN:
        return None
    if endpoint is None or method in READING:
        return Scope.READ
    return CHANGES.get(endpoint, Scope.ADMIN)
