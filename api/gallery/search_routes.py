"""The addresses of the pages that search a network."""

from flask import redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from api.gallery import addresses
from api.gallery.routes import blueprint
from api.gallery.searches import label_page, picture_page, search_box
from api.rest.searches import start_search
from api.security import forgery
from api.services import services
from db.queries.networks import get_network
from db.queries.searches import get_search


@blueprint.get("/networks/<name>/search")
def find_units(name: str) -> str:
    """The units of a network that prefer a label."""
    text, set_name = request.args.get("label", "").strip()[:100], request.args.get("set", "")[:100]
    with services().sessions() as session:
        found = get_network(session, name)
        page = label_page(session, name, text, set_name)
    box = page.box if page else None
    return render_template(
        "find.html", section="networks", network=found, page=page, box=box, form_value=forgery.form_value()
    )


@blueprint.post("/networks/<name>/search")
def send_picture(name: str) -> BaseResponse:
    """Search for the units that a picture excites, and go to the page that says which."""
    search_id = start_search(name, request.form.get("set") or None)
    return redirect(addresses.picture_search(search_id), 303)


@blueprint.get("/searches/<search_id>")
def picture_search(search_id: str) -> str:
    """The units that a picture excites, or that a worker is still looking at it."""
    return _picture_search("picture_search.html", search_id)


@blueprint.get("/searches/<search_id>/live")
def picture_search_live(search_id: str) -> str:
    """The part of that page that changes by itself."""
    return _picture_search("live_search.html", search_id)


def _picture_search(template: str, search_id: str) -> str:
    with services().sessions() as session:
        page = picture_page(get_search(session, search_id))
        box = search_box(session, page.network, page.probe.set)
    return render_template(template, section="networks", page=page, box=box, form_value=forgery.form_value())
