"""The pages' addresses. Each reads through `db.queries` and hands a template what it shows."""

from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from apiflask import APIBlueprint
from flask import Response, render_template, request, url_for

from api.gallery import compress, layers, words
from api.gallery.answers import answers_part
from api.gallery.atlases import atlas_row, failed_shards
from api.gallery.networks import network_cards, network_page
from api.gallery.searches import search_box
from api.gallery.tiles import hit_tile
from api.gallery.units import across, beside, heading, provenance, unit_page
from api.gallery.workers import workers_page
from api.security import callers, forgery
from api.security.cookies import SESSION, read_cookie
from api.services import services
from core.recipes import DEFAULT_RECIPES, NAMED_RECIPES
from core.specs import MAX_SEEDS, MAX_STEPS, Scope
from db.queries.answers import find_answers
from db.queries.atlases import AtlasPage, get_atlas, list_atlases
from db.queries.networks import get_network, network_names
from db.queries.passes import list_passes
from db.queries.recipes import get_recipe, recipes_of_network
from db.queries.units import find_labels, get_unit
from db.queries.workers import get_workforce

blueprint = APIBlueprint(
    "gallery",
    __name__,
    enable_openapi=False,
    template_folder="templates",
    static_folder="static",
    static_url_path="/assets",
)
blueprint.after_request(compress.compress)
FOR_EVER = "public, max-age=31536000, immutable"

HOME_ATLASES = 8
HERO_TILES = 32
PAGE_ATLASES = 50
MOST_HITS = 60
# Offered in the form: the default styles first. The published ones are for the paper's own network.
OFFERED = [recipe for recipe in NAMED_RECIPES.values() if "." not in recipe.name]


# --- what every template may use (pages of problems included) -----------------------


@blueprint.app_context_processor
def vocabulary() -> dict[str, object]:
    """Words and helpers of every template."""
    return {
        "asset": asset,
        "atlas_states": words.ATLAS_STATES,
        "empty_pictures": words.EMPTY_PICTURES,
        "kinds": words.KINDS,
        "library_version": version("deepvis"),
        "may_change": callers.may_change,
        "may_submit": callers.may(Scope.SUBMIT),
        "signed_in": bool(read_cookie(SESSION)),
        "sign_out_value": forgery.session_value(),
    }


for _name, _filter in words.FILTERS.items():
    blueprint.add_app_template_filter(_filter, _name)


def asset(name: str) -> str:
    """The address of a static file; it changes with the content, so that a browser never shows an old one."""
    return url_for("gallery.static", filename=name, v=_digest(name))


@cache
def _digest(name: str) -> str:
    return sha256(Path(__file__).with_name("static").joinpath(name).read_bytes()).hexdigest()[:12]


@blueprint.after_request
def keep_assets(response: Response) -> Response:
    """Static files are asked for by their content, so a browser may keep them."""
    if request.endpoint == "gallery.static" and "v" in request.args:
        response.headers["Cache-Control"] = FOR_EVER
    return response


# --- home and atlases -------------------------------------------------------------------


@blueprint.get("/")
def home() -> str:
    """Networks with pictures, atlases with their progress, and the form that asks for one."""
    with services().sessions() as session:
        shown = _listed(list_atlases(session, limit=HOME_ATLASES))
        cards = [card for card in network_cards(session) if card.mosaic]
        cards.sort(key=lambda card: len(card.mosaic[:HERO_TILES]), reverse=True)  # the first is the large one
        known = network_names(session)
    return render_template(
        "home.html",
        **shown,
        live_address="/home/live",
        section="home",
        networks=cards,
        hero_tiles=HERO_TILES,
        known=known,
        suggested=cards[0].name if cards else "demo",
        recipes=OFFERED,
        default_recipes=DEFAULT_RECIPES,
        max_seeds=MAX_SEEDS,
        max_steps=MAX_STEPS,
    )


@blueprint.get("/home/live")
def home_live() -> str:
    """The part of the home page that changes by itself."""
    with services().sessions() as session:
        shown = _listed(list_atlases(session, limit=HOME_ATLASES))
    return render_template("live_atlases.html", **shown, live_address="/home/live")


@blueprint.get("/atlases")
def atlases() -> str:
    """Every atlas, a page at a time."""
    return _atlases("atlases.html")


@blueprint.get("/atlases/live")
def atlases_live() -> str:
    """The part of a page of atlases that changes by itself."""
    return _atlases("live_atlases.html")


def _atlases(template: str) -> str:
    cursor = request.args.get("cursor") or None
    with services().sessions() as session:
        page = list_atlases(session, limit=PAGE_ATLASES, cursor=cursor)
    return render_template(
        template,
        **_listed(page),
        live_address=url_for("gallery.atlases_live", cursor=cursor),
        section="home",
        first=cursor is None,
        next_page=url_for("gallery.atlases", cursor=page.next_cursor) if page.next_cursor else "",
    )


def _listed(page: AtlasPage) -> dict[str, Any]:
    rows = [atlas_row(atlas) for atlas in page.items]
    return {"atlases": rows, "live": any(row.is_live for row in rows)}


@blueprint.get("/atlases/<atlas_id>")
def atlas(atlas_id: str) -> str:
    """How far an atlas is, and what failed."""
    return _atlas("atlas.html", atlas_id)


@blueprint.get("/atlases/<atlas_id>/live")
def atlas_live(atlas_id: str) -> str:
    """The part of an atlas's page that changes by itself."""
    return _atlas("live_atlas.html", atlas_id)


def _atlas(template: str, atlas_id: str) -> str:
    with services().sessions() as session:
        found = get_atlas(session, atlas_id)
    return render_template(
        template, section="home", atlas=atlas_row(found), failures=failed_shards(found), unread=found.unread_images
    )


# --- networks, layers, units ----------------------------------------------------------------


@blueprint.get("/networks")
def networks() -> str:
    """Every network known by name."""
    with services().sessions() as session:
        cards = network_cards(session)
        names = network_names(session)
    described = {card.name for card in cards}
    others = [name for name in names if name not in described]
    return render_template("networks.html", section="networks", described=cards, others=others)


@blueprint.get("/networks/<name>")
def network(name: str) -> str:
    """The whole network: a strip of thumbnails for every layer."""
    with services().sessions() as session:
        found = get_network(session, name)
        images = request.args.get("show") == layers.IMAGES
        named = request.args.get("set", "")[:100]
        page = network_page(session, name, request.args.get("recipe", ""), images=images or bool(named), set_name=named)
        box = search_box(session, name, "")
    return render_template(
        "network.html", section="networks", network=found, page=page, box=box, form_value=forgery.form_value()
    )


@blueprint.get("/networks/<name>/layers/<path:layer_name>")
def layer(name: str, layer_name: str) -> str:
    """All units of a layer as a grid."""
    with services().sessions() as session:
        found = get_network(session, name)
        page = layers.layer_page(session, found, layer_name, layers.asked(request.args))
    return render_template("layer.html", section="networks", network=found, page=page, layer=page.layer)


@blueprint.get("/networks/<name>/layers/<path:layer_name>/units/<int:number>")
def unit(name: str, layer_name: str, number: int) -> str:
    """One unit: its styles side by side, its seeds, one picture up close."""
    style, seed = request.args.get("recipe", ""), request.args.get("seed", type=int)
    with services().sessions() as session:
        found = get_network(session, name)
        one = get_unit(session, name, layer_name, number)
        page = unit_page(one, style, seed or 0)
        passes = list_passes(session, name)
        answers = find_answers(session, name, layer_name, number, request.args.get("set"))
        recipe = get_recipe(session, page.style.hash) if page else None
        shown = layers.shown_layers(session, name, recipes_of_network(session, name))
        above, below = layers.around(found, shown, layer_name)
    return render_template(
        "unit.html",
        section="networks",
        network=found,
        unit=one,
        layer=one.layer,
        heading=heading(one),
        page=page,
        answers=answers_part(answers, passes, page, request.args) if answers else None,
        provenance=provenance(page.picture, recipe) if page and page.picture and recipe else [],
        left=beside(one, one.previous, style, seed),
        right=beside(one, one.next, style, seed),
        above=across(one, above, style, seed),
        below=across(one, below, style, seed),
    )


@blueprint.get("/live")
def live() -> str:
    """What a network makes of a camera, pictures or a video; its script does the rest through the REST API."""
    with services().sessions() as session:
        known = network_names(session)
        cards = network_cards(session)
    suggested = request.args.get("network") or next((card.name for card in cards), "demo")
    return render_template("live.html", section="live", known=known, suggested=suggested)


# --- workers and search ------------------------------------------------------------------------


@blueprint.get("/workers")
def workers() -> str:
    """Who makes the pictures, and what waits."""
    return _workers("workers.html")


@blueprint.get("/workers/live")
def workers_live() -> str:
    """The part of that page that changes by itself."""
    return _workers("live_workers.html")


def _workers(template: str) -> str:
    parts = services()
    with parts.sessions() as session:
        force = get_workforce(session, alive_seconds=parts.settings.alive_seconds)
    return render_template(template, section="workers", page=workers_page(force))


@blueprint.get("/search")
def search() -> str:
    """Class units by their label, across every network."""
    query = request.args.get("q", "").strip()[:100]
    with services().sessions() as session:
        hits = find_labels(session, None, query, limit=MOST_HITS + 1)
    found = [(hit, hit_tile(hit)) for hit in hits[:MOST_HITS]]
    return render_template("search.html", query=query, found=found, more=len(hits) > MOST_HITS)
