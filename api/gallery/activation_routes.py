"""The pages of activations: the forms that ask for them, and what came of each."""

from flask import render_template, request

from api.gallery.activations import JobRow, job_page, job_row, offered
from api.gallery.routes import blueprint
from api.services import services
from core.activation_specs import MOST_RECORDED_LAYERS, ActivationKind
from db.queries.activations import get_job, list_jobs
from db.queries.networks import get_network, list_networks

LISTED = 24
MOST_NETWORKS = 500
SECTION = "activations"


@blueprint.get("/activations")
def activations() -> str:
    """The forms, and what was asked for lately."""
    with services().sessions() as session:
        known = [n.name for n in list_networks(session, described_only=True, limit=MOST_NETWORKS).items]
        name = request.args.get("network") or (known[0] if known else "")
        network = get_network(session, name) if name else None
        rows = [job_row(item) for item in list_jobs(session, limit=LISTED).items]
    return render_template(
        "activations.html",
        section=SECTION,
        known=known,
        network=network,
        layers=offered(network.layers) if network else [],
        most_layers=MOST_RECORDED_LAYERS,
        **_live(rows),
    )


@blueprint.get("/activations/live")
def activations_live() -> str:
    """The part of that page that changes by itself."""
    with services().sessions() as session:
        rows = [job_row(item) for item in list_jobs(session, limit=LISTED).items]
    return render_template("live_activations.html", **_live(rows))


@blueprint.get("/activations/<job_id>")
def activation(job_id: str) -> str:
    """What a picture does to every layer."""
    return _job("activation.html", job_id, ActivationKind.PICTURE)


@blueprint.get("/activations/<job_id>/live")
def activation_live(job_id: str) -> str:
    """The part of that page that changes by itself."""
    return _job("live_activation.html", job_id, ActivationKind.PICTURE)


@blueprint.get("/recordings/<job_id>")
def recording(job_id: str) -> str:
    """What a video does to some layers."""
    return _job("activation.html", job_id, ActivationKind.RECORDING)


@blueprint.get("/recordings/<job_id>/live")
def recording_live(job_id: str) -> str:
    """The part of that page that changes by itself."""
    return _job("live_activation.html", job_id, ActivationKind.RECORDING)


def _job(template: str, job_id: str, kind: ActivationKind) -> str:
    with services().sessions() as session:
        job = get_job(session, job_id, kind)
    return render_template(template, section=SECTION, job=job, page=job_page(job))


def _live(rows: list[JobRow]) -> dict[str, object]:
    return {"jobs": rows, "live": any(row.is_live for row in rows)}
