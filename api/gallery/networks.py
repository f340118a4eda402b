"""What the pages say of networks: cards with a mosaic, and the strips of a whole network."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from api.gallery import addresses
from api.gallery.styles import Choice, Style, choices, choose, styles_of
from api.gallery.tiles import MOSAIC_LAYERS, MOSAIC_TILES, Tile, image_tile, mosaic, tile
from core.specs import LayerInfo
from db.queries.answers import crop_strip
from db.queries.networks import NetworkItem, list_networks
from db.queries.passes import PassItem, list_passes
from db.queries.recipes import RecipeItem, recipes_of_network, shown_order
from db.queries.units import LayerStrip, layer_strip

STRIP_TILES = 24
MOST_CARDS = 48


@dataclass(frozen=True)
class NetworkCard:
    """A network whose layers are known, with some of its pictures."""

    name: str
    address: str
    layers: int  # those with pictures; all while none has
    units: int  # of these layers
    mosaic: list[Tile]


@dataclass(frozen=True)
class Strip:
    """A layer with its first thumbnails."""

    layer: LayerInfo
    address: str
    tiles: list[Tile]
    other: bool  # it has pictures, though of other styles


@dataclass(frozen=True)
class Probe:
    """A probe set that a network was run on."""

    name: str
    address: str
    images: int


@dataclass(frozen=True)
class NetworkPage:
    """The whole network in one style."""

    style: Style | None
    choices: list[Choice]
    strips: list[Strip]
    pictured: int  # layers with pictures
    units: int  # of these layers
    shows: list[Choice]  # preferred pictures or top images; empty where there are not both
    images: bool  # it shows top images
    probes: list[Probe]  # that it was run on


def network_cards(session: Session) -> list[NetworkCard]:
    """Every network whose layers are known."""
    described = list_networks(session, described_only=True, limit=MOST_CARDS).items
    return [_card(session, network) for network in described]


def network_page(
    session: Session, name: str, asked_style: str, *, images: bool = False, set_name: str = ""
) -> NetworkPage:
    """The strips of a network in the style asked for, or of its top images (in the set named, if it was run on it)."""
    recipes = recipes_of_network(session, name)
    styles = styles_of(all_recipes(recipes))
    style = choose(styles, asked_style)
    passes = list_passes(session, name)
    images = bool(passes) and (images or style is None)
    word = style.word if style else ""
    if images:
        probe = next((each for each in passes if each.set == set_name), passes[0])
        strips = _image_strips(session, name, probe, set_name if probe.set == set_name else "")
    else:
        strips = _picture_strips(session, name, style, recipes)
    return NetworkPage(
        style=style,
        choices=choices(styles, style, lambda word: addresses.network(name, recipe=word)) if not images else [],
        strips=strips,
        pictured=sum(bool(have) for have in recipes.values()),
        units=sum(strip.layer.units for strip in strips if recipes[strip.layer.name]),
        shows=_shows(name, word, images=images) if style and passes else [],
        images=images,
        probes=[Probe(each.set, addresses.probe_set(each.set), each.images) for each in passes],
    )


def _picture_strips(
    session: Session, name: str, style: Style | None, recipes: dict[str, list[RecipeItem]]
) -> list[Strip]:
    strips = layer_strip(session, name, recipe_hash=style.hash if style else None, limit=STRIP_TILES)
    return [_strip(name, strip, style, other=bool(recipes[strip.layer.name])) for strip in strips]


def _image_strips(session: Session, name: str, probe: PassItem, kept: str) -> list[Strip]:
    strips = crop_strip(session, name, probe.id, limit=STRIP_TILES)
    return [
        Strip(
            layer=strip.layer,
            address=addresses.layer(name, strip.layer.name, show="images", set=kept),
            tiles=[image_tile(name, strip.layer.name, item) for item in strip.items],
            other=False,
        )
        for strip in strips
    ]


def _shows(name: str, style: str, *, images: bool) -> list[Choice]:
    return [
        Choice("Preferred pictures", addresses.network(name, recipe=style), not images),
        Choice("Top images", addresses.network(name, recipe=style, show="images"), images),
    ]


def all_recipes(by_layer: dict[str, list[RecipeItem]]) -> list[RecipeItem]:
    """The recipes of all layers together, in the order shown."""
    return sorted({recipe for recipes in by_layer.values() for recipe in recipes}, key=shown_order)


def _card(session: Session, network: NetworkItem) -> NetworkCard:
    strips = layer_strip(session, network.name, limit=MOSAIC_TILES // MOSAIC_LAYERS + 2, last=2 * MOSAIC_LAYERS)
    address = addresses.network(network.name)
    sizes = [strip.layer.units for strip in strips if strip.recipe] or [strip.layer.units for strip in strips]
    return NetworkCard(network.name, address, len(sizes), sum(sizes), mosaic(network.name, strips))


def _strip(network: str, strip: LayerStrip, style: Style | None, *, other: bool) -> Strip:
    word, title = (style.word, style.title) if style else ("", "")
    return Strip(
        layer=strip.layer,
        address=addresses.layer(network, strip.layer.name, recipe=word),
        tiles=[tile(network, strip.layer.name, item, title, recipe=word) for item in strip.items],
        other=other and not strip.items,
    )
