"""What the pages say of networks: cards with a mosaic, and the strips of a whole network."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from api.gallery import addresses
from api.gallery.styles import Choice, Style, choices, choose, styles_of
from api.gallery.tiles import MOSAIC_LAYERS, MOSAIC_TILES, Tile, mosaic, tile
from core.specs import LayerInfo
from db.queries.networks import NetworkItem, list_networks
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
class NetworkPage:
    """The whole network in one style."""

    style: Style | None
    choices: list[Choice]
    strips: list[Strip]
    pictured: int  # layers with pictures
    units: int  # of these layers


def network_cards(session: Session) -> list[NetworkCard]:
    """Every network whose layers are known."""
    described = list_networks(session, described_only=True, limit=MOST_CARDS).items
    return [_card(session, network) for network in described]


def network_page(session: Session, name: str, asked_style: str) -> NetworkPage:
    """The strips of a network in the style asked for."""
    recipes = recipes_of_network(session, name)
    styles = styles_of(all_recipes(recipes))
    style = choose(styles, asked_style)
    strips = layer_strip(session, name, recipe_hash=style.hash if style else None, limit=STRIP_TILES)
    return NetworkPage(
        style=style,
        choices=choices(styles, style, lambda word: addresses.network(name, recipe=word)),
        strips=[_strip(name, strip, style, other=bool(recipes[strip.layer.name])) for strip in strips],
        pictured=sum(bool(have) for have in recipes.values()),
        units=sum(strip.layer.units for strip in strips if recipes[strip.layer.name]),
    )


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
