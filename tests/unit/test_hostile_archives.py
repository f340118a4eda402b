"""Archives that somebody made to do harm: they are refused, or what is wrong of them is skipped."""

import gzip
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from core.collection import Found, pack, read_archive
from core.collection.items import MAX_LABEL_CHARACTERS, MAX_REASON_CHARACTERS
from core.errors import BadArchive
from tests.unit.test_collection import MOST, found, reasons, tarred, zipped


def test_a_broken_member_packed_by_lzma_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("1.png", bytes(range(256)) * 50)
    whole = path.read_bytes()
    data_at = 30 + len("1.png")
    for place, wrong in ((data_at + 4, b"\xff"), (data_at + 20, bytes(30)), (data_at + 5, b"\xff" * 4)):
        path.write_bytes(whole[:place] + wrong + whole[place + len(wrong) :])
        for item in read_archive(path, MOST):
            assert isinstance(item, Found) or "cannot be unpacked" in item.reason
    path.write_bytes(whole[: data_at + 4] + b"\xff" + whole[data_at + 5 :])
    assert "cannot be unpacked" in reasons(read_archive(path, MOST))["1.png"]


def test_a_member_that_wants_more_memory_than_there_is_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    path = zipped(tmp_path / "a.zip", {"1.png": b"1"})
    monkeypatch.setattr(zipfile.ZipExtFile, "read", no_memory)
    assert reasons(read_archive(path, MOST)) == {"1.png": "It cannot be unpacked: MemoryError."}


def header(name: str, kind: bytes, data: bytes = b"", **pax: str) -> bytes:
    """A header of a tar, with what it says."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, len(data)
    member.pax_headers = pax
    return member.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def field(key: str, value: bytes) -> bytes:
    """A field of an extended header, its own length before it."""
    length = len(key) + len(value) + 3
    length += len(str(length + len(str(length))))
    return f"{length} {key}=".encode() + value + b"\n"


CHAINS = {
    "long names": header("././@LongLink", tarfile.GNUTYPE_LONGNAME, b"a\0") * 3000,
    "extended": b"".join(header("x", tarfile.XHDTYPE, field(f"k{n}", b"v")) for n in range(9)),
    "global": b"".join(
        header("x", tarfile.XGLTYPE, field(f"k{n}", b"v" * 50_000)) + header(f"{n}.png", tarfile.REGTYPE)
        for n in range(300)
    ),
    "global fields": header("x", tarfile.XGLTYPE, b"".join(field(f"k{n}", b"") for n in range(5000))),
    "sparse": header("x", tarfile.XHDTYPE, field("GNU.sparse.major", b"1") + field("GNU.sparse.minor", b"0")),
}


@pytest.mark.parametrize("start", CHAINS.values(), ids=CHAINS.keys())
def test_headers_that_pile_up_are_refused(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(start + header("1.png", tarfile.REGTYPE, b"1" * 512) + bytes(1024)))
    tracemalloc.start()
    with pytest.raises(BadArchive, match=r"too many headers|sparse"):
        list(read_archive(path, MOST))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_global_header_as_git_writes_it_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    start = header("pax_global_header", tarfile.XGLTYPE, field("comment", b"0" * 40))
    path.write_bytes(start + header("a/1.png", tarfile.REGTYPE, b"1") + bytes(1024))
    assert found(read_archive(path, MOST)) == [("a/1.png", "a")]


def test_labels_and_reasons_that_cannot_be_kept_are_mended_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    bad = b"a\0\xff\xed\xa0\x80" + b"x" * 3000
    notes = [("1.json", b'{"label": "\\ud800\\u0000"}'), ("1.png", b"1"), ("2.cls", b"\0"), ("2.png", b"2")]
    own = [
        header("x", tarfile.XHDTYPE, field(f"DEEPVIS.{what}", bad)) + header(f"{what}.png", tarfile.REGTYPE)
        for what in ("label", "reason")
    ]
    tarred(path, notes)
    path.write_bytes(b"".join(own) + path.read_bytes())
    items = list(read_archive(path, MOST))
    labels = dict(found(items))
    assert (labels["1.png"], labels["2.png"]) == ("?\ufffd", "\ufffd")
    said = str(labels["label.png"])
    told = reasons(items)["reason.png"]
    assert (len(said), len(told)) == (MAX_LABEL_CHARACTERS, MAX_REASON_CHARACTERS)
    assert said.isprintable() and told.isprintable() and (said + told).encode()
    assert list(pack(items))
