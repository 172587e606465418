"""What phones and cameras write: HEIC, JPEG XL, AVIF, raw files, colour profiles, and how each is turned."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from tests.fixtures import profiles
from udml.decoding.cost import weigh
from udml.formats import colour, jxl
from udml.pixels import SERVICE, Reason, Undecodable, decode

HEIC = Path(__file__).parents[1] / "fixtures" / "heic"
WIDTH, HEIGHT = 96, 64
ORIENTATION = 0x0112
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


def ramp() -> np.ndarray:
    across, down = np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT)
    planes = [
        np.tile(across, (HEIGHT, 1)),
        np.tile(across[::-1], (HEIGHT, 1)),
        np.tile(down[:, None], (1, WIDTH)),
    ]
    return np.stack(planes, 2).round().astype(np.uint8)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags.tobytes()


def assert_near(data: bytes, expected: np.ndarray, tolerance: float, mean: float = 1.5) -> None:
    pixels = decode(data, None, budget=SERVICE).pixels.astype(float)
    assert pixels.shape == expected.shape
    difference = np.abs(pixels - expected)
    assert difference.max() <= tolerance
    assert difference.mean() <= mean


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_format_is_turned_once(orientation: int) -> None:
    upright = UPRIGHT[orientation](ramp().astype(float))
    picture = Image.fromarray(ramp())
    assert_near((HEIC / f"o{orientation}.heic").read_bytes(), upright, 6)
    lossless = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True, "exact": True}}
    for kind, how in lossless.items():
        assert_near(encode(picture, kind, exif=exif(orientation), **how), upright, 0)
    jpeg = encode(picture, "JPEG", quality=98, subsampling=0, exif=exif(orientation))
    assert_near(jpeg, upright, 8)
    assert_near(encode(picture, "AVIF", quality=98, subsampling="4:4:4", exif=exif(orientation)), upright, 8)
    assert_near(_jxl_of_jpeg(jpeg), upright, 8)  # rebuilt as that JPEG
    assert_near(
        encode(picture, "JXL", lossless=True, exif=exif(orientation)), ramp(), 0
    )  # as libjxl turns it


def _jxl_of_jpeg(jpeg: bytes) -> bytes:
    from pillow_jxl import Encoder

    encoder = Encoder(
        mode="RGB", lossless=True, quality=100, decoding_speed=0, effort=3, use_container=True,
        use_original_profile=False, num_threads=0,
    )  # fmt: skip
    return encoder(jpeg, WIDTH, HEIGHT, jpeg_encode=True)


def test_heic_with_alpha_grey_ten_bits_and_a_phones_colours() -> None:
    colours = ramp().astype(float)
    assert_near((HEIC / "alpha.heic").read_bytes(), colours * (128 / 255) + 127, 5)
    assert_near((HEIC / "ten.heic").read_bytes(), colours, 6)
    grey = np.asarray(Image.fromarray(ramp()).convert("L").convert("RGB")).astype(float)
    assert_near((HEIC / "grey.heic").read_bytes(), grey, 6)
    inside = profiles.to_srgb(ramp() // 2 + 64, profiles.DISPLAY_P3)
    assert_near((HEIC / "p3.heic").read_bytes(), inside, 14, 2)


def test_damaged_heic_and_jpeg_xl_are_refused() -> None:
    heic = (HEIC / "o1.heic").read_bytes()
    packed = encode(Image.fromarray(ramp()), "JXL")
    for data in (heic, packed):
        for share in (0.05, 0.4, 0.7, 0.97):
            with pytest.raises(Undecodable) as caught:
                decode(data[: int(len(data) * share)], None)
            assert caught.value.reason in (Reason.TRUNCATED, Reason.CORRUPT)


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "I;16"])
def test_jpeg_xl_of_every_kind(mode: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(
            np.linspace(0, 65535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
        )
        # the encoder says of 16 bits that they are linear; they are brought to 8 before they are to sRGB
        expected = np.repeat(_from_linear(np.asarray(picture) / 65535)[..., None], 3, axis=2)
        assert_near(encode(picture, "JXL", lossless=True), expected, 14)
        return
    picture = Image.fromarray(ramp()).convert(mode)
    if "A" in mode:
        picture.putalpha(128)
    white = Image.new("RGBA", picture.size, "white")
    on_white = Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    expected = np.asarray(on_white).astype(float)
    data = encode(picture, "JXL", lossless=True)
    assert_near(data, expected, 1)
    assert decode(data, None).format == "JXL"


@pytest.mark.parametrize(
    "size", [(8, 8), (256, 256), (257, 100), (96, 64), (1920, 1080), (70_000, 2), (3, 5)]
)
def test_bombs_are_refused_by_the_size_in_the_header(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, "red")
    data = encode(picture, "JXL", effort=1)
    assert jxl.size_of(data) == size
    cost = weigh(data, 96)
    assert (cost.width, cost.height) == size
    assert not cost.is_plain
    with pytest.raises(Undecodable) as caught:
        decode(data, 96, max_pixels=size[0] * size[1] - 1)
    assert caught.value.reason == Reason.TOO_LARGE
    heic = (HEIC / "o1.heic").read_bytes()
    huge = heic.replace(struct.pack(">II", WIDTH, HEIGHT), struct.pack(">II", 40_000, 40_000))
    assert weigh(huge, 96).width == 40_000
    with pytest.raises(Undecodable) as caught:
        decode(huge, 96, max_pixels=2 * 10**9, budget=SERVICE)
    assert caught.value.reason == Reason.TOO_COSTLY


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize(
    ("matrix", "gamma"),
    [(profiles.DISPLAY_P3, None), (profiles.ADOBE_RGB, profiles.ADOBE_GAMMA)],
    ids=["Display P3", "Adobe RGB"],
)
def test_profiles_are_followed_in_every_format(kind: str, matrix: np.ndarray, gamma: float | None) -> None:
    how = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100}}
    profile = profiles.profile(matrix, gamma)
    assert colour.is_simple(profile)
    values = (ramp() // 2 + 64).astype(np.uint8)  # inside both gamuts: how to clip is a matter of taste
    expected = profiles.to_srgb(values, matrix, gamma)
    assert np.abs(expected - values).max() > 12
    data = encode(Image.fromarray(values), kind, icc_profile=profile, **how.get(kind, {}))
    assert_near(data, expected, 20 if kind in ("JPEG", "AVIF") else 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_profile_and_transparency_together(kind: str) -> None:
    values = (ramp() // 2 + 64).astype(np.uint8)
    picture = Image.fromarray(values)
    picture.putalpha(128)
    profile = profiles.profile(profiles.DISPLAY_P3)
    data = encode(picture, kind, icc_profile=profile, **({"lossless": True} if kind == "WEBP" else {}))
    assert_near(data, profiles.to_srgb(values, profiles.DISPLAY_P3) * (128 / 255) + 127, 3)


def _from_linear(linear: np.ndarray) -> np.ndarray:
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_grey_profiles_are_followed() -> None:
    grey = np.tile(np.linspace(0, 255, WIDTH).round().astype(np.uint8), (HEIGHT, 1))
    expected = _from_linear(grey / 255)
    for kind in ("PNG", "JPEG", "TIFF"):
        quality = {"quality": 100} if kind == "JPEG" else {}
        data = encode(Image.fromarray(grey), kind, icc_profile=profiles.grey_profile(1.0), **quality)
        assert_near(data, np.repeat(expected[..., None], 3, axis=2), 14 if quality else 3)
    wide = io.BytesIO()
    tifffile.imwrite(
        wide, grey.astype(np.uint16) * 257, photometric="minisblack", iccprofile=profiles.grey_profile(1.0)
    )
    assert_near(wide.getvalue(), np.repeat(expected[..., None], 3, axis=2), 3)


def test_profiles_of_inks_are_followed() -> None:
    across, down = np.linspace(0, 230, WIDTH), np.linspace(0, 200, HEIGHT)[:, None]
    planes = np.broadcast_arrays(across, across[::-1], down, down[::-1] / 2)
    inks = np.stack(planes, 2).round().astype(np.uint8)
    expected = profiles.of_inks(inks / 255)
    picture = Image.fromarray(inks, "CMYK")
    assert np.abs(expected - np.asarray(picture.convert("RGB"))).max() > 60
    for kind in ("TIFF", "JPEG"):
        quality = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
        data = encode(picture, kind, icc_profile=profiles.cmyk_profile(), **quality)
        assert_near(data, expected, 12 if quality else 6)  # a byte of Lab is 1 to 3 levels


def test_profiles_that_are_srgb_to_the_eye_change_no_pixel() -> None:
    values = ramp()
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (own, profiles.profile(profiles.SRGB)):
        assert not colour.changes(profile, "RGB")
        assert_near(encode(Image.fromarray(values), "PNG", icc_profile=profile), values, 0, 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_broken_and_foreign_profiles_count_as_none(kind: str) -> None:
    whole = profiles.profile(profiles.DISPLAY_P3)
    plain = encode(Image.fromarray(ramp()), kind)
    expected = decode(plain, None).pixels
    for profile in (b"nonsense", whole[:200], whole[:40] + bytes(200), profiles.grey_profile(1.0)):
        data = encode(Image.fromarray(ramp()), kind, icc_profile=profile)
        np.testing.assert_array_equal(decode(data, None).pixels, expected)


def test_profiles_of_strangers_that_may_take_long_are_not_simple() -> None:
    whole = profiles.profile(profiles.DISPLAY_P3)
    assert not colour.is_simple(whole + bytes(5000))
    assert not colour.is_simple(whole.replace(b"wtpt", b"A2B0"))
    assert not colour.is_simple(whole.replace(b"RGB ", b"CMYK"))
    assert not colour.is_simple(whole.replace(b"para", b"mpet"))
    assert not colour.is_simple(whole[:130])


def _raw(jpeg: bytes, orientation: int, thumbnail_px: int = 16) -> bytes:
    """A file as cameras lay them out: thumbnail, preview and sensor in pages of one TIFF."""
    stream = io.BytesIO()
    thumbnail = np.zeros((thumbnail_px, thumbnail_px, 3), np.uint8)
    sensor = np.zeros((64, 96), np.uint16)
    pattern = [(33421, 3, 2, (2, 2)), (33422, 1, 4, (0, 1, 1, 2))]
    turned = [(ORIENTATION, 3, 1, orientation)]
    with tifffile.TiffWriter(stream) as writer:
        writer.write(thumbnail, photometric="rgb", subfiletype=1, subifds=1, metadata=None, extratags=turned)
        writer.write(sensor, photometric="cfa", extratags=pattern, metadata=None)
    data = bytearray(stream.getvalue())
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    entries = [bytes(data[first + 2 + 12 * n : first + 14 + 12 * n]) for n in range(count)]
    place = len(data) + len(data) % 2
    entries += [struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((513, place), (514, len(jpeg)))]
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    data = data.ljust(place, b"\0") + jpeg
    struct.pack_into("<I", data, 4, len(data))
    return bytes(data) + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def _photo(width: int = 1200, height: int = 800, **options: object) -> bytes:
    return encode(Image.fromarray(ramp()).resize((width, height)), "JPEG", quality=95, **options)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_raw_file_is_the_preview_that_its_camera_made(orientation: int) -> None:
    preview = _photo()
    expected = UPRIGHT[orientation](decode(preview, None).pixels)
    found = decode(_raw(preview, orientation), None)
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.format == "RAW"
    assert (found.width, found.height) == (expected.shape[1], expected.shape[0])
    said = decode(_raw(_photo(exif=exif(6)), 1), None)  # what the JPEG says goes first
    assert (said.width, said.height) == (800, 1200)
    fuji = (
        b"FUJIFILMCCD-RAW 0201".ljust(84, b"\0") + struct.pack(">II", 100, len(preview)) + bytes(8) + preview
    )
    np.testing.assert_array_equal(decode(fuji, None).pixels, decode(preview, None).pixels)


def test_a_raw_file_without_a_large_preview_is_refused_by_name() -> None:
    for data in (
        _raw(_photo(160, 120), 1),
        _raw(b"\xff\xd8\xff nonsense", 1),
        b"IIU\0\x18\0\0\0" + bytes(90),
    ):
        with pytest.raises(Undecodable, match=r"camera raw .*export it as JPEG") as caught:
            decode(data, None)
        assert caught.value.reason == Reason.NOT_AN_IMAGE


def test_twelve_bits_in_a_file_of_sixteen_span_the_whole_range() -> None:
    values = np.tile(np.linspace(0, 4095, WIDTH).round().astype(np.uint16), (HEIGHT, 1))
    expected = np.repeat((values / 4095 * 255)[..., None], 3, axis=2)
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.repeat(values[..., None], 3, axis=2), photometric="rgb")
    assert_near(stream.getvalue(), expected, 1)
    for kind in ("PNG", "TIFF"):
        assert_near(encode(Image.fromarray(values), kind), expected, 1)
    bright = values * 15
    assert_near(encode(Image.fromarray(bright), "PNG"), np.repeat((bright / 257)[..., None], 3, axis=2), 1)
