"""Videos from outside: what is taken, what is refused and why, and what is kept of a broken one."""

import io
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import av
import pytest

from core import video_probe
from core.errors import BadPicture, BadVideo
from core.video_probe import probe_apart
from core.videos import Frame, VideoFacts, open_video, probe
from tests.videos import LIMITS, animation, picture, pictures, sound, video


def read(data: bytes, limits=LIMITS, **said: str) -> tuple[VideoFacts, list[Frame], str]:
    """What it is, its frames, and where it ended."""
    with open_video(io.BytesIO(data), limits, **said) as found:
        frames = list(found)
        return found.facts, frames, found.ended


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [
        ("mp4", "libx264", "walk.mp4"),
        ("mov", "mpeg4", "walk.MOV"),
        ("webm", "libvpx-vp9", "walk.webm"),
        ("webm", "libvpx", ""),
        ("matroska", "libx264", "walk.mkv"),
        ("avi", "mpeg4", "walk.avi"),
    ],
)
def test_every_frame_comes_at_its_time(container: str, codec: str, name: str) -> None:
    facts, frames, ended = read(video(20, container=container, codec=codec), filename=name)
    assert (facts.width, facts.height, len(frames), ended) == (96, 64, 20, "")
    assert [frame.seconds for frame in frames] == pytest.approx([number / 10 for number in range(20)], abs=0.002)
    for frame, drawn in zip(frames, pictures(20), strict=True):
        assert frame.image.size == drawn.size
        there, wanted = frame.image.getpixel((94, 32)), drawn.getpixel((94, 32))
        assert max(abs(a - b) for a, b in zip(there, wanted, strict=True)) < 24


def test_animated_pictures_are_videos_too() -> None:
    for kind, name in (("GIF", "a.gif"), ("WEBP", "a.webp"), ("PNG", "a.png")):
        facts, frames, _ = read(animation(5, kind), filename=name)
        assert (facts.frames, len(frames)) == (5, 5)
        assert [frame.seconds for frame in frames] == pytest.approx([0.08 * number for number in range(5)])


def test_a_picture_turned_by_its_camera_is_upright(tmp_path: Path) -> None:
    data = bytearray(video(3))
    place = data.find(b"tkhd") + 4 + 40  # the matrix of the track: a quarter turn
    for at, number in ((0, 0), (4, 0x10000), (12, 0x100000000 - 0x10000), (16, 0)):
        data[place + at : place + at + 4] = number.to_bytes(4, "big")
    _, frames, _ = read(bytes(data))
    assert frames[0].image.size == (64, 96)


@pytest.mark.parametrize(
    ("data", "said", "words"),
    [
        (b"", {}, "no video of a known format"),
        (b"hello, world", {}, "no video of a known format"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", {"filename": "a.mp4"}, "no video of a known format"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", {"filename": "a.mp4"}, "no video of a known format"),
        (sound(), {}, "only sound"),
        (video(0), {}, "cannot be decoded|no frames|no pictures"),
        (video(3), {"filename": "walk.png"}, "called .png and is MP4"),
        (video(3), {"media_type": "video/webm"}, "sent as video/webm and is MP4"),
        (video(30)[:400], {}, "cannot be decoded"),
        (video(3, container="avi", codec="ffv1"), {}, "coded as 'ffv1'"),
        (b"OggS" + bytes(60), {}, "cannot be decoded"),
        (picture(), {}, "does not move"),
    ],
)  # fmt: skip
def test_what_is_no_video_is_refused_in_words(data: bytes, said: dict[str, str], words: str) -> None:
    with pytest.raises(BadVideo, match=words) as refused:
        read(data, **said)
    assert refused.value.remedy


def test_a_picture_that_is_called_a_video_is_refused() -> None:
    with pytest.raises(BadPicture, match=r"called \.mp4 and is a PNG"):
        read(picture(), filename="walk.mp4")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (replace(LIMITS, most_bytes=100), "bytes"),
        (replace(LIMITS, most_pixels=96 * 64 - 1), "96 x 64 pixels"),
        (replace(LIMITS, most_frames=29), "30 frames"),
        (replace(LIMITS, most_seconds=2.9), "lasts 3 s"),
    ],
)
def test_limits_hold_before_anything_is_decoded(limits, words: str) -> None:
    with pytest.raises(BadVideo, match=words):
        probe(io.BytesIO(video(30)), limits)


def test_limits_hold_for_what_the_head_does_not_say() -> None:
    data = video(30, container="webm", codec="libvpx-vp9")
    _, frames, ended = read(data, replace(LIMITS, most_frames=12))
    assert len(frames) == 12 and "At most" not in ended and "12" in ended
    small = replace(LIMITS, pictures=replace(LIMITS.pictures, most_frame_pixels=40 * 30 - 1))
    with pytest.raises(BadPicture, match="40 x 30 pixels"):
        read(animation(), small)


def test_what_was_read_of_a_broken_video_is_kept() -> None:
    whole = video(100, movflags="+faststart", g="10")
    broken = bytearray(whole)
    middle = len(whole) * 6 // 10
    broken[middle : middle + 300] = b"\x55" * 300
    _, frames, ended = read(bytes(broken))
    assert 5 < len(frames) < 100
    assert ended.startswith(f"After frame {len(frames)} ({frames[-1].seconds:.2f} s): The video cannot be decoded")
    cut = video(60, container="webm", codec="libvpx-vp9", g="10")
    _, frames, ended = read(cut[: len(cut) // 2])
    assert 5 < len(frames) < 60
    assert "says that it lasts 6.00 s" in ended


# --- nothing else is reached ----------------------------------------------------------------


class Ears(BaseHTTPRequestHandler):
    """Hears who comes."""

    heard: list[str] = []  # noqa: RUF012  # of one test

    def do_GET(self) -> None:
        """Note it."""
        self.heard.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    Ears.heard.clear()
    server = HTTPServer(("127.0.0.1", 0), Ears)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret.mp4"
    server.shutdown()
    thread.join()
    server.server_close()


def with_reference(place: str) -> bytes:
    """A QuickTime file whose pictures lie elsewhere: its data reference is a URL."""
    data = video(5, container="mov", codec="mpeg4")
    url = place.encode() + b"\0"
    entry = (12 + len(url)).to_bytes(4, "big") + b"url " + bytes(4) + url
    old = data.find(b"dref") - 4
    size = int.from_bytes(data[old : old + 4], "big")
    grown = (16 + len(entry)).to_bytes(4, "big") + b"dref" + bytes(4) + (1).to_bytes(4, "big") + entry
    made = bytearray(data[:old] + grown + data[old + size :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        at = made.rfind(box, 0, old + 8) - 4
        made[at : at + 4] = (int.from_bytes(made[at : at + 4], "big") + len(grown) - size).to_bytes(4, "big")
    return bytes(made)


def test_a_file_reaches_neither_the_network_nor_other_files(address: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(video(5))
    playlist = f"#EXTM3U\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n".encode()
    for data in (with_reference(address), with_reference(secret.as_uri()), playlist, bytes(4) + b"ftyp" + playlist):
        try:
            facts, frames, _ = read(data)
        except BadVideo:
            continue
        assert facts.width == 96 and len(frames) <= 5  # its own pictures, or nothing
    assert Ears.heard == []


def test_the_reader_knows_only_the_listed_formats() -> None:
    """As a guard of the library: the options by which it refuses others are understood."""
    data = io.BytesIO(b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(av.error.FFmpegError):
        av.open(data, "r", format="hls", options={"format_whitelist": "mov", "protocol_whitelist": ""})


# --- in a process of its own --------------------------------------------------------------------


def apart(data: bytes, **said: str) -> VideoFacts:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        return probe_apart(file, LIMITS, **said)


def test_a_video_is_looked_at_in_a_process_of_its_own() -> None:
    assert apart(video(7), filename="walk.mp4") == VideoFacts("H264 in MP4 or QuickTime", 96, 64, 7, 0.7)
    with pytest.raises(BadVideo, match="only sound") as refused:
        apart(sound())
    assert refused.value.remedy == "Send one with a video track."
    with pytest.raises(BadPicture, match="is a PNG"):
        apart(picture(), filename="walk.mp4")


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (subprocess.CompletedProcess([], -11, b""), "its decoder fails"),
        (subprocess.TimeoutExpired([], 30), "took over"),
    ],
)
def test_a_file_that_takes_the_reader_down_is_refused(monkeypatch: pytest.MonkeyPatch, ended, words: str) -> None:
    def run(*_: object, **__: object):
        if isinstance(ended, Exception):
            raise ended
        return ended

    monkeypatch.setattr(video_probe.subprocess, "run", run)
    with pytest.raises(BadVideo, match=words):
        apart(video(3))
