"""Networks and their layers."""

from typing import Annotated

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, Field

from api.rest.asking import ask_for_description
from api.rest.paging import PageQuery, link_header
from api.services import services
from core.errors import BadNetwork, NotDescribed, UnknownLayer, nearest
from core.specs import LayerInfo
from db import networks as commands
from db.models import NetworkState
from db.queries import networks as queries

blueprint = APIBlueprint("networks", __name__, url_prefix="/api/v1/networks", tag="Networks")

Links = Annotated[dict[str, str], Field(description="Addresses of what belongs to it")]


class NetworkQuery(PageQuery):
    """Which networks."""

    q: str = Field(default="", max_length=100, description="Part of the name, in either case")
    described: bool = Field(default=False, description="Only networks whose layers are known")


class NetworkAnswer(queries.NetworkView):
    """A network with its layers."""

    links: Links


class LayerAnswer(LayerInfo):
    """A layer."""

    links: Links


class LayerList(BaseModel):
    """The layers of a network in forward order."""

    items: list[LayerAnswer]


class DescriptionAnswer(BaseModel):
    """How far the description of a network is."""

    network: str
    state: NetworkState
    links: Links


@blueprint.get("")
@blueprint.input(NetworkQuery, location="query")
@blueprint.output(queries.NetworkPage)
def list_networks(query_data: NetworkQuery) -> tuple[queries.NetworkPage, int, dict[str, str]]:
    """Every network by name.

    What only a worker can find out (layers, input) is empty until it has been asked for.
    """
    with services().sessions() as session:
        page = queries.list_networks(
            session,
            q=query_data.q,
            described_only=query_data.described,
            limit=query_data.limit,
            cursor=query_data.cursor,
        )
    return page, 200, link_header(page.next_cursor)


@blueprint.get("/<name>")
@blueprint.output(NetworkAnswer)
def show_network(name: str) -> NetworkAnswer:
    """One network, with its layers if a worker has found them."""
    network = _network(name)
    links = {
        "self": url_for("networks.show_network", name=name),
        "layers": url_for("networks.list_layers", name=name),
        "description": url_for("networks.describe_network", name=name),
        "gallery": f"/networks/{name}",
    }
    return NetworkAnswer(**dict(network), links=links)


@blueprint.get("/<name>/layers")
@blueprint.output(LayerList)
def list_layers(name: str) -> LayerList:
    """The layers of a network in forward order.

    If no worker has found them yet, one is asked to, and the answer is 503 (not-described) with Retry-After.
    """
    return LayerList(items=[_answer(name, layer) for layer in _layers(name)])


@blueprint.get("/<name>/layers/<path:layer>")
@blueprint.output(LayerAnswer)
def show_layer(name: str, layer: str) -> LayerAnswer:
    """One layer of a network."""
    layers = {info.name: info for info in _layers(name)}
    if layer not in layers:
        raise UnknownLayer(f"{name!r} has no layer {layer!r}.", nearest(layer, layers))
    return _answer(name, layers[layer])


@blueprint.post("/<name>/description")
@blueprint.output(DescriptionAnswer, status_code=202)
def describe_network(name: str) -> tuple[DescriptionAnswer, int, dict[str, str]]:
    """Ask a worker to find the layers of a network, again if that failed before."""
    ask_for_description(name)
    with services().sessions() as session:
        state = NetworkState(commands.find(session, name).state)
    address = url_for("networks.show_network", name=name)
    return DescriptionAnswer(network=name, state=state, links={"network": address}), 202, {"Location": address}


def _network(name: str) -> queries.NetworkView:
    with services().sessions() as session:
        return queries.get_network(session, name)


def _layers(name: str) -> tuple[LayerInfo, ...]:
    """The layers of a described network.

    Raises:
        NotDescribed: no worker has found them yet (the error's handler asks for it).
        BadNetwork: the network cannot be used.
    """
    network = _network(name)
    if network.state == NetworkState.FAILED:
        retry = f"POST to {url_for('networks.describe_network', name=name)} to try again."
        raise BadNetwork(f"The network {name!r} could not be read: {network.error}", retry)
    if network.state != NetworkState.DESCRIBED:
        raise NotDescribed(name)
    return network.layers


def _answer(name: str, layer: LayerInfo) -> LayerAnswer:
    links = {
        "self": url_for("networks.show_layer", name=name, layer=layer.name),
        "units": url_for("units.list_units", name=name, layer=layer.name),
    }
    return LayerAnswer(**dict(layer), links=links)
