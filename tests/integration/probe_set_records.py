"""Probe sets, and what a pass over one leaves, for database tests."""

import hashlib

from sqlalchemy import select

from core.collection import Checked, Skipped
from core.specs import ProbeWish
from db import clock
from db.models import Layer, Network
from db.probe_models import (
    PassLayer,
    PassPart,
    PictureSearch,
    ProbePass,
    TopImage,
    UnitAnswers,
    UnitLabel,
    UnitView,
)
from db.probe_sets import Added, SetLimits, add, begin, finish
from db.queries import probe_sets as queries
from db.session import Sessions
from tests.integration import records


def image(name: str, label: str | None = None, content: str = "") -> Checked:
    """An image whose content is that of its name, unless said otherwise."""
    data = (content or name).encode()
    return Checked(name, label, hashlib.sha256(data).hexdigest(), len(data), 8, 6)


def begun(sessions: Sessions, name: str = "photos", **options: object) -> str:
    with sessions.begin() as session:
        return begin(session, name, owner="local", origin="here", **options).id  # type: ignore[arg-type]


def added(sessions: Sessions, set_id: str, *items: Checked | Skipped, limits: SetLimits = SetLimits()) -> Added:  # noqa: B008
    with sessions.begin() as session:
        return add(session, set_id, items, limits)


def finished(sessions: Sessions, set_id: str) -> queries.ProbeSetView:
    with sessions.begin() as session:
        finish(session, set_id)
    with sessions() as session:
        return queries.get_set(session, set_id)


def looked_at(sessions: Sessions, set_id: str, units: int, **blobs: str) -> None:
    """A pass over the set with rows of every kind, for so many units of "conv"; `blobs` are the keys that they name."""
    with sessions.begin() as session:
        records.describe(session)
    with sessions.begin() as session:
        atlas_id = records.running_atlas(session)
    with sessions.begin() as session:
        moment = clock.now(session)
        network_id = session.scalars(select(Network.id).where(Network.name == "tiny")).one()
        made = ProbePass(
            atlas_id=atlas_id, network_id=network_id, set_id=set_id, batch=4, created_at=moment,
            spec=ProbeWish(set=set_id).model_dump(mode="json"),
        )  # fmt: skip
        session.add(made)
        session.flush()
        place = {"pass_id": made.id, "layer_id": session.scalars(select(Layer.id)).first()}
        session.add(PassLayer(**place, blob=blobs.get("layer", "b")))
        times = {"requested_at": moment, "created_at": moment}
        session.add(PictureSearch(id="s", pass_id=made.id, owner="local", key=blobs.get("search", "c"), **times))
        for unit in range(units):
            session.add_all(_of_unit({**place, "unit": unit}, blobs))
            session.add(PassPart(**place, first=unit, last=unit, blob=blobs.get("part", "a")))


def _of_unit(place: dict[str, int | None], blobs: dict[str, str]) -> list[object]:
    numbers = {"mean": 0.0, "deviation": 0.0, "lowest": 0.0, "highest": 0.0, "active": 0.0, "dead": False}
    shape = {"columns": 1, "count": 1, "width": 1, "height": 1}
    keys = {"blob": blobs.get("view"), "sheet": blobs.get("sheet")}
    return [
        UnitAnswers(**place, **numbers, histogram=[]),
        UnitLabel(**place, rank=0, label=0, mean=0.0, effect=0.0),
        TopImage(**place, side="top", rank=0, image=0, activation=0.0, position=0),
        UnitView(**place, side="top", kind="crop", **keys, **shape),
    ]
