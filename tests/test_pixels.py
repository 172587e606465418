"""The decoder: every mode people's files come in, and every way in which a file can be broken."""

import io
import pickle
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from udml.errors import UdmlError
from udml.pixels import Reason, Undecodable, decode, read_image


def picture(width: int = 60, height: int = 40) -> Image.Image:
    """Smooth colour gradients: what JPEG keeps nearly as it is."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x + y) * 255 // (width + height)]
    return Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def reason_of(data: bytes, **limits: int) -> Reason:
    with pytest.raises(Undecodable) as caught:
        decode(data, None, **limits)
    return caught.value.reason


def difference(pixels: np.ndarray, image: Image.Image) -> float:
    return float(np.abs(pixels.astype(int) - np.asarray(image.convert("RGB")).astype(int)).mean())


@pytest.mark.parametrize(
    "file_format", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "GIF", "JPEG", "JPEG2000", "AVIF"]
)
def test_every_format_gives_contiguous_upright_rgb(file_format: str) -> None:
    if not (features.check(file_format.lower()) if file_format in ("WEBP", "AVIF") else True):
        pytest.skip(f"this Pillow was built without {file_format}")
    decoded = decode(encode(picture(), file_format), None)
    assert (decoded.width, decoded.height, decoded.format) == (60, 40, file_format)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape == (40, 60, 3)
    assert decoded.pixels.flags.c_contiguous
    assert difference(decoded.pixels, picture()) < 12


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(file_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = picture(64, 32)
    decoded = decode(encode(image, file_format, exif=exif), None)
    tagged = image.copy()
    tagged.getexif()[0x0112] = orientation
    expected = ImageOps.exif_transpose(tagged)
    assert (decoded.width, decoded.height) == expected.size
    assert difference(decoded.pixels, expected) < 8
    small = decode(encode(image, file_format, exif=exif), 16)
    assert (small.width, small.height) == expected.size
    assert small.pixels.shape == (expected.height // 2, expected.width // 2, 3)


def test_damaged_exif_and_unknown_orientation_do_not_hurt() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    for block in (exif.tobytes(), b"Exif\0\0MM\0*\xff\xff\xff\xff"):
        assert decode(encode(picture(), "JPEG", exif=block), None).pixels.shape == (40, 60, 3)


def test_cmyk_jpegs_with_and_without_adobes_marker_look_alike() -> None:
    white = Image.new("CMYK", (32, 32), (0, 0, 0, 0))
    adobe = encode(white, "JPEG")
    assert b"Adobe" in adobe  # Pillow writes Adobe's marker and inverts, as Adobe does
    assert decode(adobe, None).pixels.min() > 250
    black_if_plain = _without_segment(adobe, 0xEE)
    assert b"Adobe" not in black_if_plain
    assert decode(black_if_plain, None).pixels.max() < 5  # not inverted: all inks are full


def _without_segment(jpeg: bytes, marker: int) -> bytes:
    start = jpeg.index(bytes((0xFF, marker)))
    length = struct.unpack_from(">H", jpeg, start + 2)[0]
    return jpeg[:start] + jpeg[start + 2 + length :]


def test_transparency_is_laid_on_white() -> None:
    half = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    half.paste((0, 0, 255, 255), (0, 0, 10, 20))
    palette = half.convert("P")
    palette.info["transparency"] = palette.getpixel((15, 5))
    grey = Image.new("LA", (20, 20), (0, 0))
    grey.paste((200, 255), (0, 0, 10, 20))
    keyed = half.convert("RGB")
    for data in (
        encode(half, "PNG"),
        encode(half, "WEBP", lossless=True),
        encode(palette, "PNG", transparency=palette.getpixel((15, 5))),
        encode(palette, "GIF", transparency=palette.getpixel((15, 5))),
        encode(grey, "PNG"),
        encode(keyed, "PNG", transparency=(255, 0, 0)),
    ):
        pixels = decode(data, None).pixels
        assert (pixels[:, 12:] == 255).all()
        assert pixels[:, :8].min() < 210


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(file_format: str) -> None:
    ramp = np.linspace(0, 65535, 256 * 16).astype(np.uint16).reshape(16, 256)
    pixels = decode(encode(Image.fromarray(ramp), file_format), None).pixels
    np.testing.assert_array_equal(pixels[..., 0], np.rint(ramp / 257.0))
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_16_bit_colour_png_is_scaled() -> None:
    colours = np.array([[(0, 0x8000, 0xFFFF), (0xFFFF, 0x4000, 0)]], np.uint16)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(b"\0" + colours.astype(">u2").tobytes())), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    assert np.abs(decode(data, None).pixels.astype(int) - [[(0, 128, 255), (255, 64, 0)]]).max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[0.0, np.nan, 65535.0]], np.float32), [0, 0, 255]),
        (np.array([[-10.0, 0.0, 10.0]], np.float32), [0, 128, 255]),
        (np.array([[7.0, 7.0, 7.0]], np.float32), [7, 7, 7]),
        (np.array([[-7.0, -7.0, -7.0]], np.float32), [0, 0, 0]),
        (np.array([[0, 1, 255]], np.int32), [0, 1, 255]),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[0, 1 << 30]], np.int32), [0, 255]),
    ],
)
def test_32_bit_grey_is_scaled_by_the_first_range_that_holds_it(
    values: np.ndarray, expected: list[int]
) -> None:
    assert decode(encode(Image.fromarray(values), "TIFF"), None).pixels[0, :, 0].tolist() == expected


def test_one_bit_and_grey() -> None:
    bits = Image.new("1", (9, 5), 1)
    bits.putpixel((0, 0), 0)
    pixels = decode(encode(bits, "PNG"), None).pixels
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[4, 8].tolist() == [255, 255, 255]
    assert decode(encode(Image.new("L", (9, 5), 77), "PNG"), None).pixels[2, 2].tolist() == [77, 77, 77]


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(file_format: str) -> None:
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue", "green")]
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:])
    assert np.abs(decode(data, None).pixels.astype(int) - (255, 0, 0)).max() < 6


def test_empty_foreign_and_damaged_headers() -> None:
    assert reason_of(b"") == Reason.EMPTY
    assert reason_of(b"hello, I am a text file") == Reason.NOT_AN_IMAGE
    assert reason_of(b"%PDF-1.7 " * 50) == Reason.NOT_AN_IMAGE
    assert reason_of(encode(picture(), "EPS")) == Reason.NOT_AN_IMAGE  # would start Ghostscript
    assert reason_of(b"\0\0\0\x18ftypheic" + bytes(50)) == Reason.CORRUPT
    assert reason_of(encode(picture(), "JPEG")[:40]) == Reason.TRUNCATED
    assert reason_of(b"\x89PNG\r\n\x1a\n" + bytes(40)) == Reason.CORRUPT


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_a_cut_file_is_never_half_shown(file_format: str) -> None:
    data = encode(picture(200, 150), file_format)
    for share in (0.3, 0.5, 0.7, 0.9, 0.97):
        assert reason_of(data[: int(len(data) * share)]) in (Reason.TRUNCATED, Reason.CORRUPT)


def test_zero_filled_tail_of_a_jpeg_is_truncation_even_with_an_embedded_thumbnail() -> None:
    exif = b"Exif\0\0" + encode(picture(16, 16), "JPEG")  # holds an end marker of its own
    data = encode(picture(300, 200), "JPEG", exif=exif, quality=95)
    assert decode(data, None).width == 300
    cut = len(data) * 2 // 3
    assert reason_of(data[:cut] + bytes(len(data) - cut)) == Reason.TRUNCATED
    assert decode(data + b"\xff\xda trailing video \0\0", None).width == 300


def test_progressive_jpeg_decodes() -> None:
    assert difference(decode(encode(picture(), "JPEG", progressive=True), None).pixels, picture()) < 6


def test_flipped_bytes_in_a_png_are_corruption() -> None:
    data = bytearray(encode(picture(200, 150), "PNG"))
    middle = len(data) // 2
    data[middle : middle + 8] = bytes(8)
    assert reason_of(bytes(data)) == Reason.CORRUPT


def test_size_limits_are_checked_before_decoding() -> None:
    assert reason_of(encode(picture(60, 40), "PNG"), min_side_px=41) == Reason.TOO_SMALL
    assert decode(encode(picture(60, 40), "PNG"), None, min_side_px=40).height == 40
    assert reason_of(encode(picture(60, 40), "PNG"), max_pixels=2399) == Reason.TOO_LARGE
    assert decode(encode(picture(60, 40), "PNG"), None, max_pixels=2400).width == 60


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_decompression_bombs_are_refused_from_the_header(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = (
        struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    idat = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    assert reason_of(b"\x89PNG\r\n\x1a\n" + chunk + idat) == Reason.TOO_LARGE


@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 700), height=st.integers(1, 700), target=st.integers(1, 200))
def test_shrinking_keeps_the_shape_and_never_enlarges(width: int, height: int, target: int) -> None:
    for file_format in ("JPEG", "BMP"):
        decoded = decode(encode(picture(width, height), file_format), target)
        rows, columns = decoded.pixels.shape[:2]
        short = min(width, height)
        assert (decoded.width, decoded.height) == (width, height)
        assert min(rows, columns) == min(target, short)
        scale = min(1.0, target / short)
        assert abs(rows - height * scale) <= 0.51
        assert abs(columns - width * scale) <= 0.51


def test_draft_decoding_agrees_with_full_decoding() -> None:
    data = encode(picture(1600, 1200), "JPEG", quality=95)
    whole = Image.fromarray(decode(data, None).pixels).resize((160, 120), Image.Resampling.BICUBIC)
    assert difference(decode(data, 120).pixels, whole) < 1.5


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=200),
    prefix=st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\0", b"BM", b"P6"]),
)
def test_nothing_but_undecodable_is_ever_raised(data: bytes, prefix: bytes) -> None:
    with suppress(Undecodable):
        assert decode(prefix + data, 64).pixels.ndim == 3


@settings(max_examples=100, deadline=None)
@given(
    file_format=st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP"]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damaged_images_never_crash(file_format: str, edits: list[tuple[float, int]]) -> None:
    data = bytearray(encode(picture(), file_format))
    for place, value in edits:
        data[int(place * (len(data) - 1))] = value
    with suppress(Undecodable):
        assert decode(bytes(data), 32, max_pixels=10_000_000).pixels.dtype == np.uint8


def test_undecodable_is_a_readable_error_that_crosses_processes() -> None:
    error = Undecodable(Reason.CORRUPT, "bad block")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, UdmlError)
    assert (again.reason, again.detail) == (Reason.CORRUPT, "bad block")
    assert str(again) == "the image is damaged: bad block"
    assert all(reason.sentence for reason in Reason)


def test_read_image_names_the_path(tmp_path) -> None:
    path = tmp_path / "a b.png"
    path.write_bytes(encode(picture(), "PNG"))
    assert read_image(path, 20).pixels.shape == (20, 30, 3)
    path.write_bytes(b"nothing")
    for wrong, reason in (
        (path, Reason.NOT_AN_IMAGE),
        (tmp_path / "no.png", Reason.UNREADABLE),
        (tmp_path, Reason.UNREADABLE),
    ):
        with pytest.raises(Undecodable, match=str(wrong)) as caught:
            read_image(wrong, 20)
        assert caught.value.reason == reason
