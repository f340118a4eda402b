"""Prints the most memory that a recording takes, in bytes: `python -m tests.integration.recording_memory FRAMES`."""

import io
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from core.activation_specs import ActivationKind, ActivationSpec
from core.settings import load_settings
from db.activations import ActivationLease, StoredPart
from store import FolderStore
from store.parts import put_parts
from tests.videos import video
from workers.networks import Networks
from workers.recording import record

PAGE_BYTES = 4096


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def main(frames: int, home: Path) -> int:
    """The most memory resident between two batches, and at the end."""
    settings, store = load_settings(home=home, threads=1, precision="float32"), FolderStore(home / "pictures")
    networks = Networks(settings, store)
    source = next(source for source in networks.catalogue() if source.name == "demo")
    info = networks.describe(source)
    sent = [StoredPart(*part) for part in put_parts(store, io.BytesIO(video(frames, preset="ultrafast")))]
    lease = ActivationLease(
        job_id="job",
        token="token",
        attempt=1,
        spec=ActivationSpec(kind=ActivationKind.RECORDING, network="demo", layers=("conv1",)),
        network=source,
        weights_hash=None,
        layers=[layer for layer in info.layers if layer.name == "conv1"],
        labels=info.labels,
        filename="walk.mp4",
        input=sent,
    )
    seen: list[int] = []
    runtime = cast(Any, SimpleNamespace(settings=settings, store=store, engines=networks))
    result, _ = record(runtime, lease, lambda done, total: seen.append(resident()))
    assert result.frames == frames
    return max(seen)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(main(int(sys.argv[1]), Path(folder)))
