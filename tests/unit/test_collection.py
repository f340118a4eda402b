"""Collections of images: what is found in folders and archives, in which order, and what can harm nobody."""

import gzip
import hashlib
import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core.collection import Checked, Found, Skipped, archives, checked, pack, read_archive, read_folder, zips
from core.errors import BadArchive, InvalidRequest, TooLarge
from core.uploads import Limits

MOST = 100_000
LIMITS = Limits(MOST, 10_000, 3)


def image(shade: int = 0, kind: str = "PNG", side: int = 4) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (shade, 0, 0)).save(buffer, kind)
    return buffer.getvalue()


def tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: Iterable[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # a mode that is computed
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def found(items: Iterable[Found | Skipped]) -> list[tuple[str, str | None]]:
    """Names and labels of what may be images."""
    return [(item.name, item.label) for item in items if isinstance(item, Found)]


def reasons(items: Iterable[Found | Skipped | Checked]) -> dict[str, str]:
    return {item.name: item.reason for item in items if isinstance(item, Skipped)}


# --- folders ---------------------------------------------------------------------


def test_a_folder_is_read_by_path_in_order_with_its_first_level_as_labels(tmp_path: Path) -> None:
    files = ("fish/2.png", "fish/10.png", "bird/deep/er/1.png", "a b/é.png")
    tree(tmp_path, {name: name.encode() for name in files})
    items = list(read_folder(tmp_path, MOST))
    assert found(items) == [
        ("a b/é.png", "a b"), ("bird/deep/er/1.png", "bird"), ("fish/10.png", "fish"), ("fish/2.png", "fish")
    ]  # fmt: skip
    assert [item.data for item in items if isinstance(item, Found)] == [item.name.encode() for item in items]


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    tree(tmp_path, {"2.png": b"2", "1.png": b"1"})
    assert found(read_folder(tmp_path, MOST)) == [("1.png", None), ("2.png", None)]


def test_hidden_files_and_what_file_managers_leave_are_passed_over(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {".hidden/1.png": b"", "a/.DS_Store": b"", "__MACOSX/a/1.png": b"", "a/Thumbs.db": b"", "a/1.png": b"1"},
    )
    assert list(read_folder(tmp_path, MOST)) == [Found("a/1.png", "a", b"1")]


def test_links_out_of_the_folder_and_to_folders_are_not_followed(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", {"a/1.png": b"1"})
    tree(tmp_path, {"secret.png": b"secret"})
    (root / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "in.png").symlink_to(root / "a" / "1.png")
    (root / "round").symlink_to(root)
    (root / "nowhere.png").symlink_to(root / "gone.png")
    items = list(read_folder(root, MOST))
    assert [item.data for item in items if isinstance(item, Found)] == [b"1", b"1"]
    told = reasons(items)
    assert sorted(told) == ["nowhere.png", "out.png", "round"]
    assert "leads out" in told["out.png"] and "link to a folder" in told["round"] and "no file" in told["nowhere.png"]


def test_what_cannot_be_read_or_is_too_large_is_skipped(tmp_path: Path) -> None:
    tree(tmp_path, {"large.png": bytes(MOST + 1), "ok.png": b"ok"})
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / os.fsdecode(b"bad\xff.png")).write_bytes(b"")
    items = list(read_folder(tmp_path, MOST))
    assert found(items) == [("ok.png", None)]
    told = reasons(items)
    assert f"more than {MOST} bytes" in told["large.png"] and "no file" in told["pipe.png"]
    assert "cannot be written" in told["bad?.png"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read: No such file"):
        list(read_folder(tmp_path / "none", MOST))


# --- zip -------------------------------------------------------------------------


def test_a_zip_is_read_by_path_in_order(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"b/2.png": b"2", "a/1.png": b"1", "__MACOSX/a/._1.png": b"", "./a/3.png": b"3"})
    assert found(read_archive(path, MOST)) == [("a/1.png", "a"), ("a/3.png", "a"), ("b/2.png", "b")]


@pytest.mark.parametrize("name", ["../up.png", "/etc/root.png", "a/../../up.png", "..\\up.png", "\\up.png"])
def test_names_that_lead_out_of_an_archive_are_skipped(tmp_path: Path, name: str) -> None:
    for path in (zipped(tmp_path / "a.zip", {name: b"1"}), tarred(tmp_path / "a.tar", [(name, b"1")])):
        [skipped] = read_archive(path, MOST)
        assert isinstance(skipped, Skipped)
        assert "leads out" in skipped.reason


def test_encrypted_and_broken_members_of_a_zip_are_skipped(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"1.png": b"1" * 50, "2.png": b"2" * 50, "3.png": b"3" * 50})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        central, second = archive.start_dir, archive.infolist()[1].header_offset
    data[central + 8] |= 1  # the first is said to be encrypted
    data[second + 30 + len("2.png")] ^= 0xFF  # the second does not unpack to what its checksum says
    path.write_bytes(data)
    items = list(read_archive(path, MOST))
    assert found(items) == [("3.png", None)]
    assert "encrypted" in reasons(items)["1.png"]
    assert "cannot be unpacked" in reasons(items)["2.png"]


def test_a_zip_that_says_it_unpacks_to_too_much_is_refused_before_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "FEW_BYTES", 1000)
    path = zipped(tmp_path / "bomb.zip", {f"{number}.png": bytes(MOST) for number in range(20)})
    with pytest.raises(BadArchive, match="would unpack to 2000000 bytes"):
        list(read_archive(path, MOST))


def test_a_large_member_is_skipped_unread(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"1.png": bytes(MOST + 1)})
    assert "at most" in reasons(read_archive(path, MOST))["1.png"]
    path = tarred(tmp_path / "a.tar", [("1.png", bytes(MOST + 1)), ("2.png", b"2")])
    items = list(read_archive(path, MOST))
    assert found(items) == [("2.png", None)]
    assert "at most" in reasons(items)["1.png"]


def test_a_member_that_lies_about_its_size_gives_no_more_than_it_says(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"1.png": bytes(50_000)})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        central = archive.start_dir
    for place in (22, central + 24):  # the sizes, unpacked, of the member and in the table of contents
        data[place : place + 4] = struct.pack("<I", 10)
    path.write_bytes(data)
    assert "cannot be unpacked" in reasons(read_archive(path, MOST))["1.png"]


def test_a_zip_with_a_huge_table_of_contents_is_refused_without_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zips, "MOST_DIRECTORY_BYTES", 70_000)
    few = zipped(tmp_path / "few.zip", {f"{number:0100}.png": b"" for number in range(300)})
    assert len(list(read_archive(few, MOST))) == 300
    many = zipped(tmp_path / "many.zip", {f"{number:0100}.png": b"" for number in range(1000)})
    with pytest.raises(BadArchive, match="too many files"):
        list(read_archive(many, MOST))


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04 and nothing", b"\x1f\x8b not gzip", b"BZh", bytes(2000)])
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    with pytest.raises(BadArchive):
        list(read_archive(path, MOST))


# --- tar -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2"])
def test_a_tar_is_read_as_it_comes(tmp_path: Path, mode: str) -> None:
    path = tarred(tmp_path / "a.tar", [("b/2.png", b"2"), ("./a/1.png", b"1"), ("a/.x", b"")], mode)
    assert found(read_archive(path, MOST)) == [("b/2.png", "b"), ("a/1.png", "a")]


def test_a_webdataset_says_labels_beside_its_images(tmp_path: Path) -> None:
    files = [
        ("000.jpg", b"0"), ("000.cls", b"7\n"), ("001.json", b'{"label": "cat"}'), ("001.png", b"1"),
        ("002.webp", b"2"), ("002.txt", b"a caption"), ("x/003.png", b"3"), ("x/003.json", b"[]"), ("notes.txt", b"n"),
    ]  # fmt: skip
    path = tarred(tmp_path / "shard.tar", files)
    said = [("000.jpg", "7"), ("001.png", "cat"), ("002.webp", None), ("x/003.png", "x"), ("notes.txt", None)]
    assert found(read_archive(path, MOST)) == said


@pytest.mark.parametrize("note", [b"{", b'{"label": null}', b'{"label": true}', b'{"label": []}', b"[" * 100_000])
def test_a_json_note_without_a_label_says_none(tmp_path: Path, note: bytes) -> None:
    path = tarred(tmp_path / "shard.tar", [("0.json", note), ("0.png", b"0")])
    assert found(read_archive(path, MOST_NOTE := 10 * MOST)) == [("0.png", None)], MOST_NOTE


def test_images_of_one_stem_are_each_an_image(tmp_path: Path) -> None:
    names = [f"IMG.{number}.jpg" for number in range(30)]
    path = tarred(tmp_path / "a.tar", [(name, name.encode()) for name in names])
    assert [name for name, _ in found(read_archive(path, MOST))] == names


def test_links_and_devices_in_a_tar_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("soft", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("device", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(f"{name}.png")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    items = list(read_archive(path, MOST))
    assert sorted(reasons(items)) == ["device.png", "hard.png", "soft.png"] and not found(items)


def test_a_tar_that_is_cut_off_or_damaged_is_no_end(tmp_path: Path) -> None:
    whole = tarred(tmp_path / "a.tar", [(f"{number}.png", bytes(2000)) for number in range(4)]).read_bytes()
    path = tmp_path / "b.tar"
    path.write_bytes(whole[:6000])
    with pytest.raises(BadArchive, match="broken"):
        list(read_archive(path, MOST))
    damaged = bytearray(whole)
    damaged[2 * 2560 + 150] ^= 0xFF  # the checksum of the third header
    path.write_bytes(damaged)
    read = []
    with pytest.raises(BadArchive, match="broken"):
        read.extend(item.name for item in read_archive(path, MOST))
    path.write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(BadArchive, match="broken"):
        list(read_archive(path, MOST))


def test_a_tar_that_unpacks_to_too_much_is_refused_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FEW_BYTES", 100_000)
    path = tarred(tmp_path / "bomb.tar.gz", [(f"{number}", bytes(5_000_000)) for number in range(3)], "w:gz")
    with pytest.raises(BadArchive, match="unpacks to more than"):
        list(read_archive(path, MOST))


def test_a_huge_header_in_a_tar_takes_no_memory(tmp_path: Path) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 60_000_000
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(member.tobuf(tarfile.USTAR_FORMAT) + bytes(60_000_000), 1))
    tracemalloc.start()
    with pytest.raises(BadArchive, match="header"):
        list(read_archive(path, MOST))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("pack_up", [zipped, lambda path, files: tarred(path, files.items())])
def test_a_folder_around_a_whole_archive_is_no_label(tmp_path: Path, pack_up: object) -> None:
    path = pack_up(tmp_path / "a", {"all/b/1.png": b"1", "all/c/2.png": b"2", "__MACOSX/x": b""})  # type: ignore[operator]
    assert found(read_archive(path, MOST, whole=True)) == [("b/1.png", "b"), ("c/2.png", "c")]
    assert [label for _, label in found(read_archive(path, MOST))] == ["all", "all"]
    path = pack_up(tmp_path / "b", {"b/1.png": b"1", "c/2.png": b"2"})  # type: ignore[operator]
    assert [label for _, label in found(read_archive(path, MOST, whole=True))] == ["b", "c"]
    path = pack_up(tmp_path / "c", {"b/1.png": b"1", "2.png": b"2"})  # type: ignore[operator]
    assert sorted(found(read_archive(path, MOST, whole=True))) == [("2.png", None), ("b/1.png", "b")]


# --- packing ---------------------------------------------------------------------

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Cn", "Co", "Cf", "Zs"]), min_size=1, max_size=120
)
TIDY = st.lists(NAMES.filter(lambda part: part[0] != "." and not {"/", "\\"} & set(part)), min_size=1, max_size=3).map(
    "/".join
)
FOUND = st.builds(Found, TIDY, st.none() | NAMES, st.binary(max_size=3000))
ITEMS = st.lists(FOUND | st.builds(Skipped, TIDY, NAMES), max_size=20)


@given(ITEMS)
def test_what_is_packed_is_unpacked(tmp_path_factory: pytest.TempPathFactory, items: list[Found | Skipped]) -> None:
    path = tmp_path_factory.mktemp("pack") / "a.tar"
    back: list[Found | Skipped] = []
    for _, data in pack(items):
        path.write_bytes(data)
        back += read_archive(path, MOST)
    assert [item.name for item in back] == [item.name for item in items]
    for sent, got in zip(items, back, strict=True):
        if isinstance(sent, Found):
            assert isinstance(got, Found) and got.data == sent.data
            assert sent.label is None or got.label == sent.label
        else:
            assert got == sent


def test_packing_makes_archives_of_some_files_or_bytes() -> None:
    small = [Found(f"{number}.png", None, b"1") for number in range(450)]
    assert [count for count, _ in pack(small)] == [200, 200, 50]
    large = [Found(f"{number}.png", None, bytes(3_000_000)) for number in range(5)]
    assert [count for count, _ in pack(large)] == [3, 2]
    assert [data for _, data in pack(small)] == [data for _, data in pack(small)]


# --- checking --------------------------------------------------------------------


def test_images_are_checked_in_order_and_bad_files_skipped_with_their_reason() -> None:
    good = [Found(f"{number}.png", "a", image(number)) for number in range(40)]
    cut, large = image(9)[:40], image(1, side=200)
    bad = [
        Found("text", None, b"hello"),
        Found("cut.png", None, cut),
        Found("large.png", None, large),
        Skipped("s", "why"),
    ]
    kept: list[bytes] = []
    items = list(checked([*bad[:2], *good, *bad[2:]], LIMITS, keep=kept.append))
    assert [item.name for item in items] == [item.name for item in [*bad[:2], *good, *bad[2:]]]
    told = reasons(items)
    assert set(told) == {"text", "cut.png", "large.png", "s"}
    assert "known format" in told["text"] and "broken" in told["cut.png"] and "40000" not in told["s"]
    images = [item for item in items if isinstance(item, Checked)]
    assert [item.key for item in images] == [hashlib.sha256(each.data).hexdigest() for each in good]
    assert {(item.width, item.height, item.label) for item in images} == {(4, 4, "a")}
    assert sorted(kept) == sorted(each.data for each in good)


def test_a_file_that_is_called_what_it_is_not_is_an_image_all_the_same() -> None:
    [item] = checked([Found("photo.jpg", None, image(3, "PNG"))], LIMITS)
    assert isinstance(item, Checked)


def test_what_keeping_raises_is_raised() -> None:
    def full(_: bytes) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        list(checked([Found("1.png", None, image())], LIMITS, keep=full))


def test_few_files_are_in_memory_at_once() -> None:
    alive: list[int] = []

    def files(count: int) -> Iterable[Found]:
        for number in range(count):
            alive.append(number)
            yield Found(f"{number}.png", None, image(number % 200))

    seen: Sequence[int] = [len(alive) - index for index, _ in enumerate(checked(files(100), LIMITS))]
    assert max(seen) <= 9


def test_no_more_is_decoded_than_may_be() -> None:
    cut = image(9, side=100)[:-20]  # 10,000 pixels, of which no image comes
    assert len(list(checked([Found("cut.png", None, cut)] * 3, LIMITS, most_pixels=30_000))) == 3
    with pytest.raises(TooLarge, match="more than 29999 pixels"):
        list(checked([Found("cut.png", None, cut)] * 3, LIMITS, most_pixels=29_999))
    refused = [Found("large.png", None, image(side=101)), Found("text", None, b"hello")]
    assert len(list(checked(refused, LIMITS, most_pixels=0))) == 2
