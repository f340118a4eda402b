"""Memory is flat in the size of a probe set: read, sent, taken in, finished and read back."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.integration

RUN = """
import resource, sys
from pathlib import Path
from core.collection import checked, read_archive, pack, read_folder
from core.settings import load_settings
from core.uploads import limits_of
from db import probe_sets
from db.migrate import upgrade
from db.session import make_engine, make_sessions
from store import open_store
from workers.probe_images import probe_files

root, home = Path(sys.argv[1]), Path(sys.argv[2])
limits = limits_of(load_settings())
url = f"sqlite:///{home / 'd.db'}"
upgrade(url)
sessions, store = make_sessions(make_engine(url)), open_store((home / "pictures").as_uri())
with sessions.begin() as session:
    set_id = probe_sets.begin(session, "x", owner="local", origin="here", root=str(root)).id
items = checked(read_folder(root, limits.most_bytes), limits)
images = sum(added.images for added in probe_sets.fill(sessions, set_id, items))
for _, archive in pack(read_folder(root, limits.most_bytes)):
    (home / "part.tar").write_bytes(archive)
    assert sum(1 for _ in read_archive(home / "part.tar", limits.most_bytes))
with sessions.begin() as session:
    probe_sets.finish(session, set_id)
assert sum(len(file.read()) > 0 for file in probe_files(sessions, store, set_id, range(images), 10**6)) == images
print(images, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kilobytes(root: Path, home: Path, count: int) -> int:
    """The most memory that a process takes that puts `count` images through everything."""
    for number in range(count):
        path = root / f"{number % 7}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny(number))
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(root), str(home)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    images, peak = map(int, done.stdout.split())
    assert images == count
    return peak


def tiny(number: int) -> bytes:
    """An image of its own for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), (number % 256, number // 256 % 256, 0)).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


@pytest.mark.timeout(0)
def test_a_set_of_20000_images_takes_no_more_memory_than_one_of_200(tmp_path: Path) -> None:
    few = peak_kilobytes(tmp_path / "few", tmp_path / "few-home", 200)
    many = peak_kilobytes(tmp_path / "many", tmp_path / "many-home", 20_000)
    assert many < few + 20_000, (few, many)
