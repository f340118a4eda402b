"""Pictures from outside: what is good comes in upright and clean, all else is refused with its reason, soon."""

import io
import random
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.errors import BadPicture
from core.uploads import Limits, encode_clean, limits_of, read_file, read_frames, read_upload

pytestmark = pytest.mark.filterwarnings("ignore::Warning:PIL")  # of files that are broken on purpose

LIMITS = Limits(most_bytes=2_000_000, most_pixels=100_000, most_frames=5)
SIZE = (40, 30)
LOSSLESS = ("PNG", "WEBP", "BMP")
KINDS = (*LOSSLESS, "JPEG", "GIF")


def scene() -> Image.Image:
    """Four flat quarters: red, green, blue and yellow."""
    image = Image.new("RGB", SIZE)
    for at, colour in (((0, 0), "red"), ((20, 0), "lime"), ((0, 15), "blue"), ((20, 15), "yellow")):
        image.paste(colour, (*at, at[0] + 20, at[1] + 15))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    more = (
        {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind in {"JPEG", "MPO"} else {}
    )
    image.save(buffer, kind, **{**more, **options})
    return buffer.getvalue()


def animated(kind: str, count: int, **options: object) -> bytes:
    frames = [Image.new("RGB", SIZE, (40 * number % 256, number % 256, 200)) for number in range(count)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)


SAMPLES = {kind: encoded(scene(), kind) for kind in KINDS}


def refused(data: bytes, limits: Limits = LIMITS, **said: str) -> str:
    with pytest.raises(BadPicture) as raised:
        list(read_frames(data, limits, **said))
    return str(raised.value)


def difference(image: Image.Image, expected: Image.Image) -> float:
    assert image.size == expected.size
    return float(np.abs(np.asarray(image, float) - np.asarray(expected.convert("RGB"), float)).mean())


# --- what is good ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_format(kind: str) -> None:
    image = read_upload(SAMPLES[kind], LIMITS)
    assert (image.mode, image.info) == ("RGB", {})
    assert difference(image, scene()) < (0.01 if kind in LOSSLESS else 3)


ENCODINGS: dict[str, Callable[[], bytes]] = {
    "progressive JPEG": lambda: encoded(scene(), "JPEG", progressive=True),
    "JPEG with restarts": lambda: encoded(scene(), "JPEG", restart_marker_rows=1),
    "CMYK JPEG": lambda: encoded(scene().convert("CMYK"), "JPEG"),
    "palette PNG": lambda: encoded(scene().quantize(4), "PNG"),
    "palette BMP": lambda: encoded(scene().quantize(4), "BMP"),
    "opaque RGBA": lambda: encoded(scene().convert("RGBA"), "PNG"),
    "RGBA BMP": lambda: encoded(scene().convert("RGBA"), "BMP"),
    "interlaced GIF": lambda: encoded(scene(), "GIF", interlace=1),
    "JPEG with a comment": lambda: encoded(scene(), "JPEG", comment=b"\xff\xd9 no end"),
    "JPEG with zeros behind it": lambda: SAMPLES["JPEG"] + bytes(100),
    "JPEG with a preview behind it": lambda: SAMPLES["JPEG"] + encoded(scene().resize((8, 6)), "JPEG"),
    "camera's MPO": lambda: encoded(scene(), "MPO", save_all=True, append_images=[scene().resize((8, 6))]),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding(name: str) -> None:
    assert difference(read_upload(ENCODINGS[name](), LIMITS), scene()) < 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_other_modes_become_rgb(mode: str) -> None:
    ramp = np.linspace(0, 255, 256, dtype=np.uint8).reshape(16, 16)
    if mode == "I;16":
        wide = (ramp.astype(np.uint16) * 257).astype("<u2")
        image = Image.frombytes(mode, (16, 16), wide.tobytes())
    else:
        image = Image.fromarray(ramp).convert(mode)
    read = read_upload(encoded(image, "PNG"), LIMITS)
    assert difference(read, Image.fromarray(ramp)) < (128 if mode == "1" else 1)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_clear_is_white(kind: str) -> None:
    clear = scene().convert("RGBA")
    clear.putalpha(Image.new("L", SIZE))
    assert difference(read_upload(encoded(clear, kind, exact=True), LIMITS), Image.new("RGB", SIZE, "white")) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_turned_upright(kind: str, orientation: int) -> None:
    turns = [None, 0, 3, 1, 5, 2, 6, 4]  # Image.Transpose that undoes each orientation's own, by orientation - 1
    turn = turns[orientation - 1]
    stored = scene() if turn is None else scene().transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert difference(read_upload(encoded(stored, kind, exif=exif), LIMITS), scene()) < 3


def test_nothing_but_pixels_is_kept() -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    sent = encoded(scene(), "JPEG", exif=exif, comment=b"a secret", icc_profile=b"colours" * 50)
    kept = encode_clean(read_upload(sent, LIMITS))
    assert not any(text in kept for text in (b"live", b"secret", b"colours", b"eXIf", b"iCCP", b"tEXt"))
    assert kept == encode_clean(read_upload(kept, LIMITS))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_frames(kind: str) -> None:
    frames = list(read_frames(animated(kind, 5), LIMITS))
    assert [frame.getpixel((0, 0))[0] for frame in frames] == [0, 40, 80, 120, 160]
    assert read_upload(animated(kind, 5), LIMITS).getpixel((0, 0))[0] == 0


# --- over a limit --------------------------------------------------------------------------


def test_bytes(tmp_path: Path) -> None:
    assert "at most 1000 are accepted" in refused(bytes(1001), Limits(1000, 1, 1)).lower()
    (tmp_path / "large.png").write_bytes(bytes(5000))
    with pytest.raises(BadPicture, match="has 1001 bytes"):
        read_file(tmp_path / "large.png", Limits(1000, 1, 1))
    with pytest.raises(BadPicture, match="No such file"):
        read_file(tmp_path / "absent.png", LIMITS)


@pytest.mark.parametrize("kind", KINDS)
def test_pixels(kind: str) -> None:
    assert "40 x 30 pixels. At most 1199" in refused(SAMPLES[kind], Limits(10**6, 1199, 5))
    assert read_upload(SAMPLES[kind], Limits(10**6, 1200, 1)).size == SIZE


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_frames_over_the_limit(kind: str) -> None:
    assert "more than 5 frames" in refused(animated(kind, 6))
    assert "40 x 30 pixels in 5 frames" in refused(animated(kind, 5), Limits(10**6, 5 * 1200 - 1, 5))


def patched(kind: str, place: int, form: str, *values: int) -> bytes:
    data = bytearray(SAMPLES[kind])
    struct.pack_into(form, data, place, *values)
    if kind == "PNG":
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


HUGE = {
    "PNG": lambda: patched("PNG", 16, ">II", 2**31 - 1, 2**31 - 1),
    "JPEG": lambda: patched("JPEG", SAMPLES["JPEG"].index(b"\xff\xc0") + 5, ">HH", 65535, 65535),
    "GIF": lambda: patched("GIF", 6, "<HH", 65535, 65535),
    "BMP": lambda: patched("BMP", 18, "<ii", 2**31 - 1, 2**31 - 1),
}


@pytest.mark.parametrize("kind", HUGE)
def test_pictures_that_claim_to_be_huge_take_no_memory(kind: str) -> None:
    tracemalloc.start()
    started = time.monotonic()
    refused(HUGE[kind]())
    assert time.monotonic() - started < 2
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


MEASURE = """
import sys
from pathlib import Path
from core.errors import BadPicture
from core.uploads import Limits, read_upload

def peak():
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])

data, limits = sys.stdin.buffer.read(), Limits(*map(int, sys.argv[1:]))
before = peak()
try:
    read_upload(data, limits)
except BadPicture as error:
    print(error, file=sys.stderr)
print(peak() - before)
"""


def memory_to_read(data: bytes, limits: Limits) -> int:
    """By how many kilobytes a process of its own grew at most while it read `data`; a refusal is fine."""
    numbers = (limits.most_bytes, limits.most_pixels, limits.most_frames)
    command = [sys.executable, "-c", MEASURE, *map(str, numbers)]
    return int(subprocess.run(command, input=data, capture_output=True, check=True).stdout)


def test_memory_is_measured() -> None:
    big = encoded(Image.new("RGB", (4000, 4000)), "PNG")
    assert memory_to_read(big, Limits(most_bytes=2_000_000, most_pixels=16_000_000, most_frames=5)) > 40_000


def test_scans_without_end() -> None:
    data = encoded(scene(), "JPEG", progressive=True)
    start, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    assert "more than 32 scans" in refused(data[:end] + data[start:end] * 40 + data[end:])


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_text_that_unpacks_without_end(kind: bytes) -> None:
    packed = zlib.compress(bytes(50_000_000), 9)
    start = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind]
    chunk = kind + start + packed
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = SAMPLES["PNG"][:33] + chunk + SAMPLES["PNG"][33:]
    started = time.monotonic()
    assert memory_to_read(data, LIMITS) < 20_000
    assert time.monotonic() - started < 2


# --- not what it seems -----------------------------------------------------------------


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("program.js", "alert(1)")
    return buffer.getvalue()


@pytest.mark.parametrize("behind", [archive(), b"<html><script>alert(1)</script>", SAMPLES["PNG"], b"%PDF-1.7"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_something_behind_the_picture(kind: str, behind: bytes) -> None:
    assert f"Behind the {kind} the file has {len(behind)} bytes of something else" in refused(SAMPLES[kind] + behind)


def test_an_animation_that_says_it_has_no_frames() -> None:
    data = animated("PNG", 3)
    place = data.index(b"acTL")
    head = b"acTL" + bytes(8)
    changed = data[:place] + head + struct.pack(">I", zlib.crc32(head)) + data[place + 16 :]
    assert "no frames" in refused(changed)
    with pytest.raises(BadPicture):  # not StopIteration, which ends loops in silence
        read_upload(changed, LIMITS)


def test_a_webp_that_says_it_is_longer_to_cover_an_archive() -> None:
    data = SAMPLES["WEBP"] + archive()
    data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    with suppress(BadPicture):
        assert b"PK" not in encode_clean(read_upload(data, LIMITS))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no picture"),
        (b"\xff\xd8", "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "such as SVG"),
        (b"\xef\xbb\xbf\n <?xml version='1.0'?><svg/>", "such as SVG"),
        (b"%PDF-1.7", "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
        (archive() + SAMPLES["PNG"], "no picture"),
        (b"P6 2 2 255 " + bytes(12), "no picture"),
        (b"8BPS\0\1" + bytes(50), "no picture"),
        (b"\0\0\1\0\1\0" + bytes(50), "no picture"),
        (b"\x89PNG\r\n\x1a\n", "its end is missing"),
        (b"GIF89a" + bytes(7), "its end is missing"),
        (b"BM" + bytes(60), "Behind the BMP"),
        (b"BM" + bytes(8) + b"\x3e\0\0\0" + bytes(48), "cannot be decoded"),
        (encoded(scene(), "TIFF"), "no picture"),  # whose end nobody can compute
        (b"II*\0" + b"\xff" * 60, "no picture"),
        (b"RIFF\x04\0\0\0WEBP", "cannot be decoded"),
    ],
)
def test_what_is_no_picture(data: bytes, reason: str) -> None:
    assert reason in refused(data)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"filename": "cat.jpg"}, "called .jpg and is a PNG. Call it .png"),
        ({"filename": "cat.png.exe"}, "called .exe and is a PNG"),
        ({"filename": "cat.svg"}, "called .svg"),
        ({"media_type": "image/jpeg"}, "sent as image/jpeg and is a PNG. Send it as image/png"),
        ({"media_type": "text/html; charset=utf-8"}, "sent as text/html"),
    ],
)
def test_what_is_not_what_it_is_said_to_be(said: dict[str, str], reason: str) -> None:
    assert reason in refused(SAMPLES["PNG"], **said)


@pytest.mark.parametrize(
    "said",
    [
        {"filename": "CAT.PNG"},
        {"filename": "cat"},
        {"filename": "a/b\\c:cat.png"},
        {"media_type": "Image/PNG; x=y"},
        {"media_type": "application/octet-stream"},
    ],
)
def test_what_is_what_it_is_said_to_be(said: dict[str, str]) -> None:
    assert read_upload(SAMPLES["PNG"], LIMITS, **said).size == SIZE


def test_limits_come_from_the_settings(make_settings: Callable[..., object]) -> None:
    made = make_settings(max_picture_bytes=7, max_picture_pixels=8, max_picture_frames=9)
    assert limits_of(made) == Limits(7, 8, 9)  # type: ignore[arg-type]  # they are settings


# --- broken in any way -------------------------------------------------------------------

BROKEN = {
    **SAMPLES,
    **{f"animated {kind}": animated(kind, 4) for kind in ("GIF", "WEBP", "PNG")},
    "progressive": ENCODINGS["progressive JPEG"](),
    "MPO": ENCODINGS["camera's MPO"](),
}


def survives(data: bytes) -> None:
    """It is read or refused, within its time."""
    started = time.monotonic()
    try:
        for frame in read_frames(data, LIMITS):
            assert frame.width * frame.height <= LIMITS.most_pixels
    except BadPicture as error:
        assert error.detail
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", BROKEN)
def test_cut_off_anywhere(name: str) -> None:
    data = BROKEN[name]
    for length in range(0, len(data), max(1, len(data) // 150)):
        survives(data[:length])
        if name != "MPO":
            refused(data[:length])


@pytest.mark.parametrize("name", BROKEN)
def test_bytes_changed_anywhere(name: str) -> None:
    dice = random.Random(name)  # the same every time
    for _ in range(150):
        data = bytearray(BROKEN[name])
        for _ in range(dice.choice([1, 2, 8])):
            data[dice.randrange(min(len(data), dice.choice([64, 10**6])))] = dice.choice([0, 255, dice.randrange(256)])
        survives(bytes(data))


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.sampled_from(sorted(BROKEN)), st.integers(0, 4000), st.integers(0, 40), st.binary(max_size=40))
def test_parts_replaced(name: str, start: int, length: int, put: bytes) -> None:
    data = BROKEN[name]
    survives(data[:start] + put + data[start + length :])


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"RIFF....WEBP"]),
       st.binary(max_size=400))  # fmt: skip
def test_noise_after_a_good_start(start: bytes, noise: bytes) -> None:
    survives(start + noise)
