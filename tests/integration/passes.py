"""Probe sets and passes over them in a real installation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import select

from core.collection import Found, checked
from core.specs import AtlasSpec, ProbeWish
from core.uploads import limits_of
from db import probe_sets
from db.models import Layer
from db.probe_models import ProbePass, TopImage, UnitAnswers, UnitView
from deepvis.engine import Engine
from deepvis.inputs import NO_LABEL, PictureFile, batches
from deepvis.networks import load_network
from deepvis.networks.demo.pictures import picture_files
from deepvis.probe import ProbeOptions
from deepvis.tallies import Tally
from tests.services import Installation

LAYERS = ("conv2", "classes")
SHARDS = {"shard_seconds": 0.01}
"""So little work in one that a range is a single batch."""

Top = tuple[int, str, int, int, int, int, float]
"""Layer id, side, unit, rank, image, position, activation."""


def add_set(installation: Installation, name: str = "pictures", images: int = 250, root: Path | None = None) -> str:
    """A ready set of generated pictures, in the store or in place; its id."""
    files = [Found(path, label, data) for path, label, data in picture_files(images)]
    if root is not None:
        for file in files:
            (root / file.name).parent.mkdir(parents=True, exist_ok=True)
            (root / file.name).write_bytes(file.data)
    keep = installation.store.put if root is None else None
    items = list(checked(files, limits_of(installation.settings), keep=keep))
    with installation.sessions.begin() as session:
        place = {"root": str(root)} if root else {}
        set_id = probe_sets.begin(session, name, owner="local", origin="a test", **place).id
    for start in range(0, len(items), probe_sets.CHUNK):
        with installation.sessions.begin() as session:
            probe_sets.add(session, set_id, items[start : start + probe_sets.CHUNK])
    with installation.sessions.begin() as session:
        probe_sets.finish(session, set_id)
    return set_id


def wish(set_id: str, layers: Sequence[str] = LAYERS, **changes: object) -> AtlasSpec:
    """A pass alone over some layers of the demo network; views of two units of each."""
    probe = ProbeWish.model_validate({"set": set_id, "lowest": True, **changes})
    return AtlasSpec(network="demo", layers=tuple(layers), units=(0, 3), probe=probe)


def tallies(installation: Installation, images: int, layers: Sequence[str] = LAYERS) -> dict[str, Tally]:
    """The same pass in this process, in one go."""
    from deepvis.layers import describe
    from deepvis.networks import catalogue

    [source] = [each for each in catalogue("") if each.name == "demo"]
    network = load_network(source)
    engine = Engine(network, threads=2)
    chosen = [layer for layer in describe(network).layers if layer.name in layers]
    labels: dict[str, int] = {}
    files = [
        PictureFile(number, labels.setdefault(label, len(labels)), lambda data=data: data)  # type: ignore[misc]
        for number, (_, label, data) in enumerate(picture_files(images))
    ]
    assert NO_LABEL not in labels.values()
    read = batches(files, engine.probe_batch_size, network.input_shape)
    return engine.probe(chosen, read, ProbeOptions(lowest=True))


def expected_tops(installation: Installation, found: dict[str, Tally]) -> set[Top]:
    """The top and lowest images that tallies say, as rows."""
    ids = layer_ids(installation)
    return {
        (
            ids[name],
            side,
            unit,
            rank,
            int(image),
            int(ranking.positions[unit, rank]),
            float(ranking.answers[unit, rank]),
        )
        for name, tally in found.items()
        for side, ranking in (("top", tally.top), ("lowest", tally.low))
        if ranking is not None
        for unit in range(tally.units)
        for rank, image in enumerate(ranking.images[unit])
    }


def stored_tops(installation: Installation, atlas_id: str) -> set[Top]:
    """Those that workers have found."""
    columns = (TopImage.layer_id, TopImage.side, TopImage.unit, TopImage.rank, TopImage.image, TopImage.position)
    mine = select(*columns, TopImage.activation).where(TopImage.pass_id == pass_of(installation, atlas_id).id)
    with installation.sessions() as session:
        return {tuple(row) for row in session.execute(mine)}  # type: ignore[misc]


def pass_of(installation: Installation, atlas_id: str) -> ProbePass:
    with installation.sessions() as session:
        return session.scalars(select(ProbePass).where(ProbePass.atlas_id == atlas_id)).one()


def layer_ids(installation: Installation) -> dict[str, int]:
    with installation.sessions() as session:
        return dict(session.execute(select(Layer.name, Layer.id)).all())


def views(installation: Installation, atlas_id: str) -> list[UnitView]:
    with installation.sessions() as session:
        mine = select(UnitView).where(UnitView.pass_id == pass_of(installation, atlas_id).id)
        return list(session.scalars(mine.order_by(UnitView.layer_id, UnitView.unit, UnitView.side, UnitView.kind)))


def answers(installation: Installation, atlas_id: str) -> dict[tuple[int, int], UnitAnswers]:
    with installation.sessions() as session:
        mine = select(UnitAnswers).where(UnitAnswers.pass_id == pass_of(installation, atlas_id).id)
        return {(row.layer_id, row.unit): row for row in session.scalars(mine)}


def check_pass(installation: Installation, atlas_id: str, images: int) -> None:
    """What workers have put together is what one pass in one process finds.

    Up to rounding: convolutions add up in another order where a process has another number of threads.
    """
    found = tallies(installation, images)
    stored, expected = sorted(stored_tops(installation, atlas_id)), sorted(expected_tops(installation, found))
    assert [top[:6] for top in stored] == [top[:6] for top in expected]
    np.testing.assert_allclose([top[6] for top in stored], [top[6] for top in expected], rtol=1e-5, atol=1e-6)
    ids, rows = layer_ids(installation), answers(installation, atlas_id)
    for name, tally in found.items():
        stored = [rows[ids[name], unit] for unit in range(tally.units)]
        np.testing.assert_allclose([row.mean for row in stored], tally.total / tally.count, rtol=1e-6)
        np.testing.assert_allclose([row.highest for row in stored], tally.highest, rtol=1e-5)
        assert [sum(count for *_, count in row.histogram) for row in stored] == tally.count.tolist()
