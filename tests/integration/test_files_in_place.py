"""Images of a set that stay in their folder: read, checked, and never taken for others."""

import os
from pathlib import Path

import pytest

from core.errors import ProbeSetChanged, StoreUnavailable
from db.session import Sessions
from store import open_store
from tests.integration.probe_set_records import added, begun, image
from workers.probe_images import ProbeFile, probe_files

pytestmark = pytest.mark.integration

MOST_BYTES = 100


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    for name in ("1", "2", "3"):
        (made / name).write_text(name)
    return made


def files(sessions: Sessions, root: Path) -> list[ProbeFile]:
    set_id = begun(sessions, root=str(root))
    added(sessions, set_id, image("1"), image("2"), image("3"))
    return list(probe_files(sessions, open_store("memory://"), set_id, range(3), MOST_BYTES))


def test_files_that_changed_are_never_given(sessions: Sessions, root: Path) -> None:
    one, two, three = files(sessions, root)
    assert one.read() == b"1"
    (root / "2").write_text("other")
    (root / "3").unlink()
    with pytest.raises(ProbeSetChanged, match=r"'2' is not what it was .*'photos'"):
        two.read()
    with pytest.raises(ProbeSetChanged, match=r"'3' is gone .*'photos'"):
        three.read()
    os.mkfifo(root / "3")
    with pytest.raises(ProbeSetChanged, match="no file any more"):
        three.read()


def test_a_huge_file_in_the_place_of_an_image_is_not_read(sessions: Sessions, root: Path) -> None:
    one, *_ = files(sessions, root)
    os.truncate(root / "1", 2**40)  # a sparse file: it would not fit the memory
    with pytest.raises(ProbeSetChanged, match=f"has {2**40} bytes"):
        one.read()


def test_a_folder_that_is_not_there_is_no_changed_image(sessions: Sessions, root: Path) -> None:
    one, *_ = files(sessions, root)
    root.rename(root.with_name("moved"))
    with pytest.raises(StoreUnavailable, match=r"no folder .* on this machine"):
        one.read()
    root.mkdir()  # the place of a disk that is not mounted
    with pytest.raises(StoreUnavailable, match="nothing in it"):
        one.read()
    root.rmdir()
    root.symlink_to(root)
    with pytest.raises(StoreUnavailable, match="symbolic links"):
        one.read()
    root.unlink()
    root.with_name("moved").rename(root)
    assert one.read() == b"1"
