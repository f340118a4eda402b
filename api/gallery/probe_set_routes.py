"""The addresses of the pages of probe sets."""

from flask import redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from api.gallery import addresses
from api.gallery.probe_sets import STATES, label_choices, label_counts, left_out, set_row, shot, size_words
from api.gallery.routes import blueprint
from api.rest.probe_sets import make_of_archive
from api.security import callers, forgery
from api.services import services
from api.uploads import on_disk
from core.errors import InvalidRequest
from db import probe_sets as commands
from db.queries import probe_sets as queries

PAGE_SETS = 50
PAGE_IMAGES = 60
SHOWN_SKIPS = 20
MOST_SHOWN_SKIPS = 500


@blueprint.get("/probe-sets")
def probe_sets() -> str:
    """Every probe set, and the form that makes one."""
    cursor = request.args.get("cursor") or None
    with services().sessions() as session:
        page = queries.list_sets(session, limit=PAGE_SETS, cursor=cursor)
    return render_template(
        "probe_sets.html",
        section="probe-sets",
        sets=[set_row(found) for found in page.items],
        first=cursor is None,
        next_page=addresses.probe_sets(cursor=page.next_cursor) if page.next_cursor else "",
        form_value=forgery.form_value(),
        most_bytes=services().settings.max_archive_bytes,
    )


@blueprint.post("/probe-sets")
def add_probe_set() -> BaseResponse:
    """Make a probe set of an archive that was chosen in the form."""
    file = request.files.get("archive")
    if file is None or not file.filename:
        raise InvalidRequest("No archive was chosen.", "Choose a .zip, .tar or .tar.gz with images in it.")
    name = request.form.get("name", "").strip()
    with on_disk(file.stream) as path:
        make_of_archive(name, file.filename, path)
    return redirect(addresses.probe_set(name), 303)


@blueprint.get("/probe-sets/<name>")
def probe_set(name: str) -> str:
    """One probe set: its labels, its images, and what was left out."""
    label, cursor = request.args.get("label", type=int), request.args.get("cursor") or None
    skips_limit = MOST_SHOWN_SKIPS if request.args.get("skips") == "all" else SHOWN_SKIPS
    with services().sessions() as session:
        found = queries.get_set(session, queries.find_id(session, name))
        counts = label_counts(session, services().label_counts, found)
        page = queries.list_images(session, found.id, label=label, limit=PAGE_IMAGES, cursor=cursor)
        skips = queries.list_skips(session, found.id, limit=skips_limit)
    return render_template(
        "probe_set.html",
        section="probe-sets",
        set=found,
        state=STATES[found.state],
        size=size_words(found),
        left_out=left_out(found),
        labels=(labels := label_choices(found, counts, label)),
        more_labels=max(0, found.label_count + 1 - len(labels)),
        shots=[shot(found.id, image) for image in page.items],
        first=addresses.probe_set(found.name, label=label) if cursor else "",
        next_page=addresses.probe_set(found.name, label=label, cursor=page.next_cursor) if page.next_cursor else "",
        skips=skips.items,
        more_skips=addresses.probe_set(found.name, skips="all")
        if skips.next_cursor and skips_limit == SHOWN_SKIPS
        else "",
        form_value=forgery.form_value(),
    )


@blueprint.post("/probe-sets/<name>/delete")
def delete_probe_set(name: str) -> BaseResponse:
    """Delete a probe set."""
    with services().sessions() as session:
        found = queries.get_set(session, queries.find_id(session, name))
    callers.check_owner(found.owner)
    with services().sessions.begin() as session:
        commands.delete(session, found.id)
    return redirect(addresses.probe_sets(), 303)
