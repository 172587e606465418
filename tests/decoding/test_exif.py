"""Capture time and camera, as files of every kind say them, and as damaged ones don't."""

import io
import random
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pillow_jxl  # noqa: F401 - makes Pillow write JPEG XL
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from udml.formats.exif import NOTHING, Facts, facts_of
from udml.formats.exif.block import block_of
from udml.formats.exif.facts import camera_of
from udml.pixels import decode

HEIC = Path(__file__).parents[1] / "fixtures" / "heic"
MAKE, MODEL, ORIENTATION, CHANGED, DETAILS, GPS = 0x010F, 0x0110, 0x0112, 0x0132, 0x8769, 0x8825
TAKEN, DIGITIZED = 0x9003, 0x9004
KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "JXL")
MOMENT = "2024:05:31 18:07:09"


def seconds(year: int, *rest: int) -> int:
    return int(datetime(year, *rest, tzinfo=UTC).timestamp())  # type: ignore[misc]


def exif(
    make: str | None = "Canon", model: str | None = "Canon EOS 5D", orientation: int = 1, **moments: str
) -> bytes:
    tags = Image.Exif()
    said = {MAKE: make, MODEL: model, ORIENTATION: orientation, CHANGED: moments.get("changed")}
    tags.update({tag: value for tag, value in said.items() if value is not None})
    details = {TAKEN: moments.get("taken"), DIGITIZED: moments.get("digitized")}
    tags.get_ifd(DETAILS).update({tag: value for tag, value in details.items() if value is not None})
    tags.get_ifd(GPS)[1] = "N"
    return tags.tobytes()


def encode(kind: str, block: bytes) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 24), (200, 90, 10)).save(stream, kind, exif=block)
    return stream.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_says_when_and_by_what(kind: str) -> None:
    for orientation in range(1, 9):
        data = encode(kind, exif(orientation=orientation, taken=MOMENT, changed="2025:01:01 00:00:00"))
        assert facts_of(data) == Facts(seconds(2024, 5, 31, 18, 7, 9), "Canon EOS 5D")
        assert decode(data, None).pixels.size == 40 * 24 * 3


def test_heic_says_so_too() -> None:
    data = (HEIC / "taken.heic").read_bytes()
    assert facts_of(data) == Facts(seconds(2024, 5, 31, 18, 7, 9), "Apple iPhone 15 Pro")
    assert facts_of((HEIC / "o6.heic").read_bytes()) == NOTHING


def test_png_with_its_exif_behind_the_pixels() -> None:
    stream, block = io.BytesIO(), exif(taken=MOMENT)[6:]
    Image.new("RGB", (9, 9)).save(stream, "PNG")
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block + _checksum(b"eXIf" + block)
    data = stream.getvalue()
    assert facts_of(data[:-12] + chunk + data[-12:]).taken == seconds(2024, 5, 31, 18, 7, 9)


def raw_like(order: str, head: bytes, big: bool = False) -> bytes:
    """A TIFF file of one directory and one inside it, as cameras write them."""
    wide, place = ("Q", 16) if big else ("I", 8)
    size, inner_at = (20, 200) if big else (12, 200)

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return struct.pack(f"{order}HH{wide}{wide}", tag, kind, count, value)

    entries = [entry(MAKE, 2, 10, 300), entry(MODEL, 2, 9, 320), entry(DETAILS, 4, 1, inner_at)]
    inner = [entry(TAKEN, 2, 20, 340)]
    data = bytearray(400)
    count = struct.Struct(f"{order}{'Q' if big else 'H'}")
    for at, found in ((place, entries), (inner_at, inner)):
        data[at : at + count.size] = count.pack(len(found))
        data[at + count.size : at + count.size + size * len(found)] = b"".join(found)
    for at, text in ((300, b"Sony Corp\0"), (320, b"ILCE-7M3\0"), (340, MOMENT.encode() + b"\0")):
        data[at : at + len(text)] = text
    data[: 4 + (4 if big else 0)] = head
    data[place - (8 if big else 4) : place] = struct.pack(f"{order}{wide}", place)
    return bytes(data)


@pytest.mark.parametrize(
    ("order", "head"),
    [("<", b"II*\0"), (">", b"MM\0*"), ("<", b"IIU\0"), ("<", b"IIRO"), (">", b"MMOR")],
)
def test_tiff_and_camera_raws(order: str, head: bytes) -> None:
    expected = Facts(seconds(2024, 5, 31, 18, 7, 9), "Sony Corp ILCE-7M3")
    assert facts_of(raw_like(order, head)) == expected


@pytest.mark.parametrize(("order", "head"), [("<", b"II+\0\x08\0\0\0"), (">", b"MM\0+\0\x08\0\0")])
def test_big_tiff(order: str, head: bytes) -> None:
    assert facts_of(raw_like(order, head, big=True)).camera == "Sony Corp ILCE-7M3"


def test_a_raf_says_what_its_jpeg_says() -> None:
    jpeg = encode("JPEG", exif("FUJIFILM", "X-T3", taken=MOMENT))
    head = b"FUJIFILMCCD-RAW".ljust(84, b"\0") + struct.pack(">II", 200, len(jpeg))
    assert facts_of(head.ljust(200, b"\0") + jpeg).camera == "FUJIFILM X-T3"


def test_a_tiff_of_a_scanner() -> None:
    stream = io.BytesIO()
    tifffile.imwrite(
        stream, [[1, 2], [3, 4]], dtype="uint8", datetime="1998:02:03 04:05:06", software="x",
        extratags=[(MAKE, 2, 0, "EPSON", True)],
    )  # fmt: skip
    assert facts_of(stream.getvalue()) == Facts(seconds(1998, 2, 3, 4, 5, 6), "EPSON")


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("2024:05:31 18:07:09", seconds(2024, 5, 31, 18, 7, 9)),
        ("2024-05-31T18:07:09+02:00", seconds(2024, 5, 31, 18, 7, 9)),  # as the clock showed it
        ("2024:05:31 18:07", seconds(2024, 5, 31, 18, 7)),
        ("2024:05:31   :  :  ", seconds(2024, 5, 31)),
        ("1850:01:01 00:00:00", seconds(1850, 1, 1)),
        ("0000:00:00 00:00:00", None),
        ("9999:12:31 23:59:59", None),
        ("2024:02:30 00:00:00", None),
        ("2024:05:31 25:00:00", None),
        ("    :  :     :  :  ", None),
        ("20240531", None),
        ("2024:05:311 10:00:00", None),
        ("\0\0\0\0", None),
        ("", None),
    ],
)
def test_moments_and_nonsense(said: str, taken: int | None) -> None:
    assert facts_of(encode("JPEG", exif(taken=said))).taken == taken


def test_the_next_moment_counts_where_one_is_nonsense() -> None:
    block = exif(taken="0000:00:00 00:00:00", digitized="2001:01:01 01:01:01", changed=MOMENT)
    assert facts_of(encode("JPEG", block)).taken == seconds(2001, 1, 1, 1, 1, 1)
    assert facts_of(encode("JPEG", exif(taken=" ", changed=MOMENT))).taken == seconds(2024, 5, 31, 18, 7, 9)


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D90", "NIKON D90"),
        ("EASTMAN KODAK COMPANY", "KODAK DX4530", "KODAK DX4530"),
        ("Apple", "iPhone 15 Pro", "Apple iPhone 15 Pro"),
        ("Apple", "", "Apple"),
        ("", "X100", "X100"),
        ("", "", None),
    ],
)
def test_cameras(make: str, model: str, camera: str | None) -> None:
    assert camera_of(make, model) == camera


def test_cameras_are_cleaned_and_short() -> None:
    ugly = ("Ca\x1b[31m\u202enon\r\n  " + "é" * 100).encode()
    plain = exif("X" * len(ugly), "M\0hidden", taken=MOMENT)
    found = facts_of(encode("JPEG", plain).replace(b"X" * len(ugly), ugly)).camera
    assert found is not None
    assert found.startswith("Ca [31m non ")
    assert found.endswith(" M")
    assert len(found) <= 129
    latin = encode("JPEG", exif("Xxxxx", "M")).replace(b"Xxxxx", b"Caf\xe9s")  # not UTF-8
    assert facts_of(latin).camera == "Cafés M"


def test_where_it_was_taken_is_not_read() -> None:
    assert set(Facts.__dataclass_fields__) == {"taken", "camera"}


_samples = [encode(kind, exif(taken=MOMENT)) for kind in KINDS] + [
    (HEIC / "taken.heic").read_bytes(),
    raw_like(">", b"MM\0*"),
    raw_like("<", b"II+\0\x08\0\0\0", big=True),
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_samples), st.integers(0, 2**32), st.integers(1, 60))
def test_damage_is_nothing(data: bytes, seed: int, places: int) -> None:
    chance = random.Random(seed)
    damaged = bytearray(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.3 else data)
    for _ in range(places):
        if damaged:
            damaged[chance.randrange(len(damaged))] = chance.choice((0, 255, chance.randrange(256)))
    found = facts_of(bytes(damaged))
    assert found.taken is None or -5_364_662_400 <= found.taken < 7_258_118_400
    assert found.camera is None or (0 < len(found.camera) <= 129 and found.camera.isprintable())


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([data[:16] for data in _samples]))
def test_any_bytes_are_nothing_or_something(rest: bytes, head: bytes) -> None:
    facts_of(head + rest)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_damaged_exif_refuses_no_picture(kind: str) -> None:
    whole = encode(kind, exif(taken=MOMENT))
    block = block_of(whole)
    assert block.startswith(b"MM\0*")
    ends = block[:20].ljust(len(block), b"\xff"), block[:8].ljust(len(block), b"\0")
    for broken in (*ends, b"\xff" * len(block)):
        data = whole.replace(block, broken)
        if kind == "PNG":  # its chunks have checksums
            at = data.index(b"eXIf")
            data = data[: at + 4 + len(block)] + _checksum(b"eXIf" + broken) + data[at + 8 + len(block) :]
        assert decode(data, None).pixels.shape == (24, 40, 3)
        assert facts_of(data) == NOTHING


def _checksum(chunk: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(chunk))
