"""Commands on networks: registered by name, described by a worker, never changed afterwards."""

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.errors import Conflict, NotReady, UnknownNetwork, nearest
from core.specs import LayerInfo, NetworkInfo, NetworkSource
from db import clock
from db.bulk import insert_missing
from db.models import MAX_ERROR_CHARACTERS, Layer, Network, NetworkState

log = logging.getLogger(__name__)

DESCRIPTION_SECONDS = 120
"""A description asked for longer ago than this may be asked for again."""


def sync_catalogue(session: Session, sources: Sequence[NetworkSource]) -> None:
    """Make every network of the catalogue known by name.

    A name whose weights are settled keeps its source; a catalogue that now says otherwise is logged.
    """
    insert_missing(session, Network, (_row(source) for source in sorted(sources, key=lambda s: s.name)))
    known = {n.name: n for n in session.scalars(select(Network))}
    for source in sorted(sources, key=lambda s: s.name):  # in one order, as each may be locked
        try:
            _settle_source(session, known[source.name], source)
        except Conflict as conflict:
            log.warning("%s", conflict)


def register(session: Session, source: NetworkSource) -> Network:
    """The network of that name, made known if it is not.

    Raises:
        Conflict: the name already means other weights.
    """
    insert_missing(session, Network, [_row(source)])
    network = find(session, source.name)
    _settle_source(session, network, source)
    return network


def find(session: Session, name: str) -> Network:
    """The network of that name.

    Raises:
        UnknownNetwork: there is none; the remedy says the nearest names.
        NotReady: no network is known at all, as no worker has been started on this database yet.
    """
    network = session.scalar(select(Network).where(Network.name == name))
    if network is None:
        names = session.scalars(select(Network.name)).all()
        if not names:
            raise NotReady("No worker has made the networks known yet.", "Start one with `deepvis worker`.")
        raise UnknownNetwork(f"There is no network named {name!r}.", nearest(name, names))
    return network


def request_description(session: Session, name: str) -> bool:
    """Note that the network's layers are wanted; True if a worker should be told (again).

    Raises:
        UnknownNetwork: there is no network of that name.
    """
    network = _lock(session, name)  # or what somebody found out in this moment would be asked for again
    moment = clock.now(session)
    if network.state == NetworkState.DESCRIBED:
        return False
    if network.state == NetworkState.DESCRIBING and not _overdue(network, moment):
        return False
    if network.state != NetworkState.DESCRIBING:
        network.attempts = 0
    network.state, network.error, network.requested_at = NetworkState.DESCRIBING, None, moment
    return True


def begin_description(session: Session, name: str, max_attempts: int) -> bool:
    """Count an attempt at describing the network; True if a worker should make it.

    A network that takes its worker down with it would otherwise be tried for ever.
    """
    network = _lock(session, name)
    if network.state == NetworkState.DESCRIBED:
        return False
    if network.attempts >= max_attempts:
        reason = f"Describing it ended its worker {network.attempts} times; it may need more memory than there is."
        network.state, network.error = NetworkState.FAILED, reason
        return False
    network.attempts += 1
    return True


def leave_description(session: Session, name: str) -> None:
    """Leave a description to whoever comes next, as something around it does not work; the attempt does not count."""
    network = _lock(session, name)
    if network.state == NetworkState.DESCRIBING:
        network.attempts = max(0, network.attempts - 1)


def take_undescribed(session: Session, *, stale_seconds: float = DESCRIPTION_SECONDS, limit: int = 10) -> list[str]:
    """Names of networks still to be described, asked for over `stale_seconds` ago; noted as asked for now."""
    moment = clock.now(session)
    wanted = (
        select(Network.id)
        .where(Network.state == NetworkState.DESCRIBING)
        .where(Network.requested_at < clock.after(moment, -stale_seconds))
        .order_by(Network.requested_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = session.scalars(wanted).all()
    asked = update(Network).where(Network.id.in_(ids)).values(requested_at=moment).returning(Network.name)
    return list(session.scalars(asked)) if ids else []


def save_description(session: Session, name: str, info: NetworkInfo) -> None:
    """Store what a worker found out; nothing if the same is stored already.

    Raises:
        Conflict: the network is described with other weights; a name means one set of weights for ever.
    """
    network = _lock(session, name)
    if network.weights_hash is not None and network.weights_hash != info.weights_hash:
        raise Conflict(f"The weights of {name!r} have changed since it was first used.", "Give them a new name.")
    if network.state == NetworkState.DESCRIBED:
        return
    if network.weights_hash is None:  # else its layers are there, and are not inserted twice
        _fill(session, network, info)
    network.state, network.error, network.described_at = NetworkState.DESCRIBED, None, clock.now(session)


def _fill(session: Session, network: Network, info: NetworkInfo) -> None:
    fields = info.model_dump(
        mode="json", include={"weights_hash", "input_shape", "mean", "std", "labels", "parameters"}
    )
    for field, value in fields.items():
        setattr(network, field, value)
    session.add_all(_layer(network, layer) for layer in info.layers)


def fail_description(session: Session, name: str, error: str) -> None:
    """Note why the network cannot be used; a network that is described stays so."""
    network = _lock(session, name)
    if network.state != NetworkState.DESCRIBED:
        network.state, network.error = NetworkState.FAILED, error[:MAX_ERROR_CHARACTERS]


def _lock(session: Session, name: str) -> Network:
    find(session, name)
    statement = select(Network).where(Network.name == name).with_for_update(key_share=True)
    return session.scalars(statement.execution_options(populate_existing=True)).one()


def _row(source: NetworkSource) -> dict[str, Any]:
    return {"name": source.name, "source": source.model_dump(mode="json"), "state": NetworkState.REGISTERED}


def _settle_source(session: Session, network: Network, source: NetworkSource) -> None:
    wanted = source.model_dump(mode="json")
    if network.source == wanted:
        return
    network = _lock(session, source.name)  # its weights may have been settled since it was read
    if network.weights_hash is not None:
        raise Conflict(f"The network {source.name!r} is already registered from another source.", "Choose a new name.")
    network.source = wanted
    network.state, network.error = NetworkState.REGISTERED, None


def _overdue(network: Network, moment: Any) -> bool:
    return network.requested_at is None or network.requested_at < clock.after(moment, -DESCRIPTION_SECONDS)


def _layer(network: Network, layer: LayerInfo) -> Layer:
    return Layer(
        network_id=network.id,
        name=layer.name,
        kind=layer.kind,
        order=layer.order,
        units=layer.units,
        labelled=layer.labelled,
        default=layer.default,
        info=layer.model_dump(mode="json"),
    )
