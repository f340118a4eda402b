"""Reads of networks and their layers."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from core.specs import LayerInfo, NetworkSource
from db import networks
from db.models import Layer, Network, NetworkState
from db.queries.paging import View, cut, decode_cursor, encode_cursor


class NetworkItem(View):
    """A network in a list; what only a worker can find out is None (or 0) until it is described."""

    name: str
    kind: str
    state: NetworkState
    error: str | None
    described_at: datetime | None
    input_shape: tuple[int, int, int] | None  # (C, H, W)
    parameters: int | None
    layer_count: int
    unit_count: int  # of all layers


class NetworkPage(View):
    """A page of networks, by name."""

    items: tuple[NetworkItem, ...]
    next_cursor: str | None


class NetworkView(NetworkItem):
    """A network with its layers in forward order. `mean` and `std` are per channel on the 0..1 scale."""

    source: NetworkSource
    weights_hash: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    labels: tuple[str, ...]
    layers: tuple[LayerInfo, ...]


def list_networks(
    session: Session, *, q: str = "", described_only: bool = False, limit: int = 50, cursor: str | None = None
) -> NetworkPage:
    """Networks by name; `q` keeps those whose name contains it, in either case.

    Raises:
        InvalidRequest: the cursor is not one of this list.
    """
    statement = select(Network).options(defer(Network.labels)).order_by(Network.name).limit(limit + 1)
    if (after := decode_cursor(cursor, str)) is not None:
        statement = statement.where(Network.name > after[0])
    if q:
        statement = statement.where(func.lower(Network.name).contains(q.lower(), autoescape=True))
    if described_only:
        statement = statement.where(Network.state == NetworkState.DESCRIBED)
    page, following = cut(session.scalars(statement).all(), limit, lambda network: encode_cursor(network.name))
    sizes = _sizes(session, [network.id for network in page])
    return NetworkPage(items=tuple(_item(n, *sizes.get(n.id, (0, 0))) for n in page), next_cursor=following)


def network_names(session: Session) -> list[str]:
    """The name of every network, in order."""
    return list(session.scalars(select(Network.name).order_by(Network.name)))


def get_network(session: Session, name: str) -> NetworkView:
    """The network of that name, with its layers.

    Raises:
        UnknownNetwork: there is none; the remedy says the nearest names.
    """
    network = networks.find(session, name)
    layers = tuple(LayerInfo.model_validate(layer.info) for layer in network.layers)
    item = _item(network, len(layers), sum(layer.units for layer in layers))
    return NetworkView(
        **item.model_dump(),
        source=NetworkSource.model_validate(network.source),
        weights_hash=network.weights_hash,
        mean=network.mean,
        std=network.std,
        labels=network.labels or (),
        layers=layers,
    )


def _sizes(session: Session, ids: list[int]) -> dict[int, tuple[int, int]]:
    counted = select(Layer.network_id, func.count(), func.sum(Layer.units)).where(Layer.network_id.in_(ids))
    rows = session.execute(counted.group_by(Layer.network_id))
    return {network_id: (layers, units) for network_id, layers, units in rows}


def _item(network: Network, layers: int, units: int) -> NetworkItem:
    return NetworkItem(
        name=network.name,
        kind=network.source["kind"],
        state=NetworkState(network.state),
        error=network.error,
        described_at=network.described_at,
        input_shape=network.input_shape,
        parameters=network.parameters,
        layer_count=layers,
        unit_count=units,
    )
