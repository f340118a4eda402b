"""Shards of a pass over a probe set: a range of its images goes through the network, every layer's answers are kept.

Pictures are decoded in threads, ahead of the device. What cannot be read is skipped and listed; what has changed since
it was registered counts as that. Imports torch: in the child only.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from core.errors import BadPicture, ProbeSetChanged
from core.uploads import limits_of
from db.bulk import chunks
from db.passes import Part
from db.queries import probe_sets
from db.work import ProbeLease
from deepvis.inputs import NO_LABEL, Inputs, PictureFile, Skipped, batches
from deepvis.probe import ProbeOptions
from deepvis.tallies import MOST_SAMPLE, Tally, dump
from workers.committer import Keep, Parcel
from workers.engines import Engine
from workers.held import HeldLease
from workers.probe_images import ProbeFile, probe_files
from workers.runtime import Runtime
from workers.stages import StageTimes

log = logging.getLogger(__name__)

DECODERS_PER_CORE = 1
NAMES_AT_ONCE = 500


class RangeParcel(Parcel):
    """What the units answered to a range of images, layer by layer."""

    def __init__(
        self,
        held: HeldLease,
        times: StageTimes,
        lease: ProbeLease,
        tallies: Mapping[str, Tally],
        skipped: Sequence[tuple[str, str]],
    ) -> None:
        super().__init__(held, times)
        self._lease = lease
        self._tallies = tallies
        self._skipped = tuple(skipped)

    def result(self, keep: Keep) -> Part:
        keys = keep([partial(dump, self._tallies[layer.name]) for _, layer in self._lease.layers])
        blobs = {layer_id: key for (layer_id, _), key in zip(self._lease.layers, keys, strict=True)}
        looked_at = self._lease.last - self._lease.first + 1 - len(self._skipped)
        return Part(blobs=blobs, images=looked_at, skipped=self._skipped, seconds=self.times.seconds()["compute"])


def compute_range(
    runtime: Runtime, engine: Engine, held: HeldLease, lease: ProbeLease, times: StageTimes
) -> RangeParcel:
    """Put the lease's images through the network.

    Raises:
        UnknownProbeSet: the set was deleted.
    """
    skipped: list[Skipped] = []
    total, seen = lease.last - lease.first + 1, 0

    def note(inputs: Inputs) -> None:
        nonlocal seen
        seen += len(inputs.numbers) + len(inputs.skipped)
        skipped.extend(inputs.skipped)
        for each in inputs.skipped:
            log.warning("image %d of %s is left out: %s", each.number, lease.set_name, each.reason)
        held.progress(seen / total)

    layers = [layer for _, layer in lease.layers]
    tallies = engine.probe(
        layers,
        _inputs(runtime, engine, lease),
        ProbeOptions(
            k=lease.wish.top,
            lowest=lease.wish.lowest,
            sample=profile_sample(lease.images),
            rectified=engine.rectified_layers(layers),
        ),
        on_batch=note,
    )
    return RangeParcel(held, times, lease, tallies, _named(runtime, lease.set_id, skipped))


def profile_sample(images: int) -> frozenset[int]:
    """The numbers of the images by whose answers units are compared, evenly over a set of that many."""
    count = min(images, MOST_SAMPLE)
    return frozenset(place * images // count for place in range(count))


def picture_files(runtime: Runtime, set_id: str, first: int, last: int) -> Iterator[PictureFile]:
    """The images of a range of a set, to be decoded; what has changed since it was registered cannot be read."""
    most_bytes = runtime.settings.max_picture_bytes
    for file in probe_files(runtime.ledger.sessions, runtime.store, set_id, range(first, last + 1), most_bytes):
        yield PictureFile(file.number, NO_LABEL if file.label is None else file.label, _reading(file))


def _inputs(runtime: Runtime, engine: Engine, lease: ProbeLease) -> Iterator[Inputs]:
    files = picture_files(runtime, lease.set_id, lease.first, lease.last)
    limits, threads = limits_of(runtime.settings), max(2, DECODERS_PER_CORE * runtime.engines.threads)
    return batches(files, lease.batch, engine.input_shape, threads=threads, limits=limits)


def _reading(file: ProbeFile) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return file.read()
        except ProbeSetChanged as error:
            raise BadPicture(error.detail, error.remedy) from error

    return read


def _named(runtime: Runtime, set_id: str, skipped: Sequence[Skipped]) -> list[tuple[str, str]]:
    """Names and reasons of the images that could not be read."""
    found: list[tuple[str, str]] = []
    for some in chunks(skipped, NAMES_AT_ONCE):
        with runtime.ledger.sessions() as session:
            images = probe_sets.get_images(session, set_id, [each.number for each in some])
        found += [(images[each.number].name, each.reason) for each in some]
    return found
