"""Which pass over a probe set the gallery shows: the latest one that is merged, unless another set is named."""

from datetime import datetime

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session, contains_eager, load_only

from core.errors import Conflict, NotFound, nearest
from core.specs import BackwardKind, ProbeWish
from db import networks
from db.models import Atlas, AtlasState, Layer, Network
from db.probe_models import PassState, ProbePass, ProbeSet, ProbeSetState, UnitAnswers
from db.queries.paging import View


class PassItem(View):
    """A network's merged pass over a probe set."""

    id: int
    network: str
    set: str  # its name
    set_id: str
    atlas: str
    images: int  # that were looked at
    labels: int  # that the set has
    top: int  # images kept of each unit
    lowest: bool  # whether those it answers to least are kept too
    backward: tuple[BackwardKind, ...]
    merged_at: datetime | None


class PassList(View):
    """A network's passes, the latest first."""

    items: tuple[PassItem, ...]


def list_passes(session: Session, network: str) -> tuple[PassItem, ...]:
    """The latest merged pass over each probe set that is not deleted, the latest first.

    Raises:
        UnknownNetwork: there is no such network.
    """
    found: dict[str, PassItem] = {}
    for row in session.scalars(_merged(networks.find(session, network).id)):
        found.setdefault(row.set_id, pass_item(row))
    return tuple(found.values())


def find_pass(
    session: Session, network: str, set_name: str | None = None, layer_id: int | None = None
) -> ProbePass | None:
    """The latest merged pass (over the set named) whose set is not deleted, with its set; None if there is none.

    With `layer_id`, one that has that layer's answers: a pass may be over some layers only.

    Raises:
        UnknownNetwork: there is no such network.
    """
    statement = _merged(networks.find(session, network).id).limit(1)
    if set_name:
        statement = statement.where(ProbeSet.name == set_name)
    if layer_id is not None:
        answers = exists().where(UnitAnswers.pass_id == ProbePass.id, UnitAnswers.layer_id == layer_id)
        statement = statement.where(answers)
    return session.scalar(statement)


def shown_pass(session: Session, network: str, layer_id: int | None, set_name: str = "") -> ProbePass | None:
    """The pass that a page shows: over the set named if there is one, else the latest.

    Raises:
        UnknownNetwork: there is no such network.
    """
    named = find_pass(session, network, set_name, layer_id) if set_name else None
    return named or find_pass(session, network, layer_id=layer_id)


def answered_layers(session: Session, network: str, set_name: str = "") -> frozenset[str]:
    """Names of the layers that a pass has answers of; answered from an index."""
    network_id = networks.find(session, network).id
    merged = _merged(network_id).with_only_columns(ProbePass.id)
    if set_name:
        merged = merged.where(ProbeSet.name == set_name)
    ids = session.scalars(merged).all()
    answers = exists().where(UnitAnswers.pass_id.in_(ids), UnitAnswers.layer_id == Layer.id)
    return frozenset(session.scalars(select(Layer.name).where(Layer.network_id == network_id, answers)))


def require_pass(session: Session, network: str, set_name: str | None = None, layer: Layer | None = None) -> ProbePass:
    """As `find_pass`, where there must be one.

    Raises:
        UnknownNetwork: there is no such network.
        NotFound: no merged pass is over that set, or has that layer's answers.
        Conflict: the network has no merged pass at all yet.
    """
    found = find_pass(session, network, set_name, layer.id if layer else None)
    if found is not None:
        return found
    passes = list_passes(session, network)
    if not passes:
        detail = f"{network!r} has not been run on a probe set yet."
        raise Conflict(detail, f"Run it: `deepvis probe run {network} SET --wait`.")
    if set_name and set_name not in {each.set for each in passes}:
        known = nearest(set_name, (each.set for each in passes))
        raise NotFound(f"{network!r} was not run on a probe set {set_name!r}.", known)
    remedy = f"Run it on every layer: `deepvis probe run {network} {set_name or passes[0].set} --wait`."
    raise NotFound("The network was run on a probe set without this layer.", remedy)


def pass_item(row: ProbePass) -> PassItem:
    """The pass of a row."""
    wish = ProbeWish.model_validate(row.spec)
    return PassItem(
        id=row.id,
        network=row.network.name,
        set=row.set.name,
        set_id=row.set_id,
        atlas=row.atlas_id,
        images=row.images,
        labels=len(row.set.labels),
        top=wish.top,
        lowest=wish.lowest,
        backward=wish.backward,
        merged_at=row.merged_at,
    )


def _merged(network_id: int) -> Select[ProbePass]:
    """A network's merged passes, with their sets: the whole ones first, then the latest first."""
    with_set = contains_eager(ProbePass.set)
    with_name = contains_eager(ProbePass.network).options(load_only(Network.name))
    statement = select(ProbePass).join(ProbePass.set).join(ProbePass.network).options(with_set, with_name)
    merged = (ProbePass.network_id == network_id, ProbePass.state == PassState.MERGED)
    shown = (*merged, ProbeSet.state != ProbeSetState.DELETED)
    ended = select(Atlas.state == AtlasState.COMPLETE).where(Atlas.id == ProbePass.atlas_id).scalar_subquery()
    return statement.where(*shown).order_by(ProbePass.partial, ended.desc(), ProbePass.id.desc())
