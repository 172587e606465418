"""Single formats: kinds that decoders get wrong, damage that they hide, and names of what is not read."""

import gzip
import io
import lzma
import re
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from udml.pixels import Reason, Undecodable, decode

WIDTH, HEIGHT = 96, 64
RAMP = np.broadcast_to(np.linspace(0.0, 1.0, WIDTH), (HEIGHT, WIDTH))
COLOURS = np.stack([RAMP, RAMP[:, ::-1], np.broadcast_to(np.linspace(0, 1, HEIGHT)[:, None], RAMP.shape)], 2)


def levels(shares: np.ndarray) -> np.ndarray:
    return np.rint(shares * 255)


def integers(shares: np.ndarray, dtype: str) -> np.ndarray:
    highest = float(np.iinfo(dtype).max)
    return np.minimum(np.rint(shares * highest), np.nextafter(highest, 0)).astype(dtype)


def tiff(values: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, metadata=None, **options)
    return stream.getvalue()


def pillow(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def assert_shows(data: bytes, shares: np.ndarray, tolerance: float = 1.0) -> None:
    pixels = decode(data, None).pixels.astype(int)
    expected = levels(shares if shares.ndim == 3 else np.repeat(shares[..., None], 3, axis=2))
    assert np.abs(pixels - expected).max() <= tolerance


def problem(data: bytes) -> Undecodable:
    with pytest.raises(Undecodable) as caught:
        decode(data, None)
    return caught.value


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "f2", "f4", "f8", "i1", "i2", "i4"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_grey_tiff_of_every_type(byteorder: str, dtype: str, photometric: str) -> None:
    values = RAMP.astype(dtype) if dtype[0] == "f" else integers(RAMP, dtype)
    inverted = photometric == "miniswhite"
    for options in ({}, {"compression": "zlib", "rowsperstrip": 7}, {"tile": (16, 32)}, {"bigtiff": True}):
        data = tiff(values, byteorder=byteorder, photometric=photometric, **options)
        assert_shows(data, 1 - RAMP if inverted else RAMP, 2 if dtype == "i1" else 1)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f2", "f4", "f8"])
def test_colour_tiff_of_every_type_and_both_orders_of_samples(
    byteorder: str, planar: str, dtype: str
) -> None:
    values = COLOURS.astype(dtype) if dtype[0] == "f" else integers(COLOURS, dtype)
    if planar == "separate":
        values = np.ascontiguousarray(values.transpose(2, 0, 1))
    for options in ({}, {"compression": "zlib"}, {"rowsperstrip": 9}, {"tile": (32, 16)}):
        assert_shows(
            tiff(values, byteorder=byteorder, photometric="rgb", planarconfig=planar, **options), COLOURS
        )


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_samples_beside_the_colours_count_only_if_they_say_so(dtype: str) -> None:
    highest = 1.0 if dtype == "f4" else np.iinfo(dtype).max
    zero, half = np.zeros((HEIGHT, WIDTH)), np.full((HEIGHT, WIDTH), 0.5)

    def encoded(*planes: np.ndarray, photometric: str, extra: list[str] | None) -> bytes:
        values = (np.dstack(planes) * highest).astype(dtype)
        data = tiff(
            values, photometric=photometric, planarconfig="contig", extrasamples=extra or ["unspecified"]
        )
        return data if extra else _without_tag(data, 338)

    assert_shows(encoded(COLOURS, zero, photometric="rgb", extra=None), COLOURS, 1)
    assert_shows(encoded(COLOURS, zero, photometric="rgb", extra=["unspecified"]), COLOURS, 1)
    assert_shows(encoded(COLOURS, half, photometric="rgb", extra=["unassalpha"]), 0.5 * COLOURS + 0.5, 2)
    assert_shows(encoded(COLOURS / 2, half, photometric="rgb", extra=["assocalpha"]), 0.5 * COLOURS + 0.5, 3)
    assert_shows(encoded(RAMP, half, photometric="minisblack", extra=["unassalpha"]), 0.5 * RAMP + 0.5, 2)
    assert_shows(encoded(RAMP, zero, photometric="minisblack", extra=None), RAMP, 1)
    five = encoded(RAMP, zero, half, zero, half, photometric="minisblack", extra=["unspecified"] * 4)
    assert_shows(five, RAMP, 1)
    inks = np.dstack([1 - COLOURS, zero])
    assert_shows(encoded(inks, half, photometric="separated", extra=["unassalpha"]), 0.5 * COLOURS + 0.5, 2)
    assert_shows(encoded(inks, zero, photometric="separated", extra=["unspecified"]), COLOURS, 1)


def _without_tag(data: bytes, tag: int) -> bytes:
    """Rename a tag of the first page to one that nobody reads; the order of tags does not matter."""
    return _changed(data, tag, struct.pack("<H", 65000), 0)


def _with_first(data: bytes, tag: int, value: int) -> bytes:
    return _changed(data, tag, struct.pack("<I", value), 8)


def _changed(data: bytes, tag: int, new: bytes, at: int) -> bytes:
    directory = struct.unpack_from("<I", data, 4)[0]
    changed = bytearray(data)
    for entry in range(struct.unpack_from("<H", data, directory)[0]):
        place = directory + 2 + 12 * entry
        if struct.unpack_from("<H", data, place)[0] == tag:
            changed[place + at : place + at + len(new)] = new
    return bytes(changed)


def _packed(values: np.ndarray, bits: int, **tags: int) -> bytes:
    """A grey TIFF of any number of bits."""
    rows = [
        "".join(format(value, f"0{bits}b") for value in row).ljust(-(-len(row) * bits // 8) * 8, "0")
        for row in values
    ]
    body = b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)
    return _assembled(values, body, bits, **tags)


def _assembled(values: np.ndarray, body: bytes, bits: int, **tags: int) -> bytes:
    entries = {256: values.shape[1], 257: values.shape[0], 258: bits, 259: 1, 262: 1, 273: 8, 277: 1}
    entries |= {278: values.shape[0], 279: len(body)} | {int(name[1:]): value for name, value in tags.items()}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    padded = body + bytes(len(body) % 2)
    head = b"II*\0" + struct.pack("<I", 8 + len(padded))
    return head + padded + struct.pack("<H", len(entries)) + directory + bytes(4)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 14])
@pytest.mark.parametrize("width", [96, 95])
def test_every_number_of_bits_spans_black_to_white(bits: int, width: int) -> None:
    values = np.rint(RAMP[:, :width] * (2**bits - 1)).astype(int)
    shares = values / (2**bits - 1)
    assert_shows(_packed(values, bits), shares)
    assert_shows(_packed(values, bits, t262=0), 1 - shares)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd", "lzma"])
@pytest.mark.parametrize("predictor", [1, 2, 3])
def test_compressed_floats(compression: str, predictor: int) -> None:
    options = {} if compression == "packbits" else {"tiffinfo": {317: predictor}}
    if predictor == 2:
        options = {}
    image = Image.fromarray(RAMP.astype(np.float32))
    assert_shows(pillow(image, "TIFF", compression=compression, **options), RAMP)


@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("bits", [16, 32])
def test_predicted_integers(predictor: bool, bits: int) -> None:
    values = integers(RAMP, f"u{bits // 8}")
    differences = (
        np.diff(values, axis=1, prepend=np.zeros((HEIGHT, 1), values.dtype)) if predictor else values
    )
    body = zlib.compress(differences.astype(values.dtype).tobytes())
    tags = {"t259": 8, "t262": 0, "t317": 1 + predictor}
    assert_shows(_assembled(values, body, bits, **tags), 1 - RAMP)
    plain = values.tobytes()
    assert_shows(
        _assembled(values, plain, bits, t262=0, t317=2), 1 - RAMP
    )  # without a codec it means nothing


def test_wide_tiffs_shrink_and_turn_like_others() -> None:
    data = tiff(integers(RAMP, "u4"), photometric="minisblack", extratags=[(274, 3, 1, 6)])
    decoded = decode(data, 32)
    assert (decoded.width, decoded.height, decoded.format) == (HEIGHT, WIDTH, "TIFF")
    assert decoded.pixels.shape == (48, 32, 3)
    assert decoded.pixels[0].mean() < 5  # left is up
    assert decoded.pixels[-1].mean() > 250


def test_a_palette_of_sixteen_bits_and_lab() -> None:
    palette = np.stack([np.arange(65536), np.arange(65536)[::-1], np.zeros(65536)]).astype(np.uint16)
    indices = integers(RAMP, "u2")
    expected = np.stack([RAMP, RAMP[:, ::-1], np.zeros_like(RAMP)], 2)
    assert_shows(tiff(indices, photometric="palette", colormap=palette), expected)
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    picture = Image.fromarray(levels(COLOURS).astype(np.uint8))
    lab = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    pixels = decode(pillow(lab, "TIFF"), None).pixels.astype(int)
    assert np.abs(pixels - levels(COLOURS)).mean() < 3


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4"])
def test_a_tiff_that_was_cut_is_never_half_shown(dtype: str) -> None:
    for compression in (None, "zlib"):
        noise = np.random.default_rng(0).integers(0, 100, (HEIGHT, WIDTH, 3)).astype(dtype)
        data = tiff(noise, photometric="rgb", planarconfig="contig", compression=compression)
        for share in (0.02, 0.5, 0.97):
            assert problem(data[: int(len(data) * share)]).reason in (Reason.TRUNCATED, Reason.CORRUPT)


@pytest.mark.parametrize(
    ("values", "options", "name"),
    [
        (RAMP.astype("c8"), {"photometric": "minisblack"}, "complex"),
        (integers(COLOURS, "u2"), {"photometric": "cielab", "planarconfig": "contig"}, r"L\*a\*b\*"),
        (integers(RAMP, "u2"), {"photometric": "minisblack", "extratags": [(259, 3, 1, 34887)]}, "LERC"),
    ],
)
def test_kinds_that_are_not_read_are_named(values: np.ndarray, options: dict, name: str) -> None:
    data = tiff(values, **{key: value for key, value in options.items() if key != "extratags"})
    if "extratags" in options:
        data = _with_first(data, 259, 34887)
    found = problem(data)
    assert found.reason == Reason.NOT_AN_IMAGE
    assert "TIFF" in found.detail
    assert re.search(name, found.detail)


def _pages(*pages: tuple[np.ndarray, int], photometric: str = "rgb", sub: bool = False) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for number, (values, subfile) in enumerate(pages):
            writer.write(
                values,
                photometric="rgb" if values.ndim == 3 else photometric,
                subfiletype=subfile,
                metadata=None,
                subifds=len(pages) - 1 if sub and number == 0 else None,
            )
    return stream.getvalue()


@pytest.mark.parametrize("sub", [False, True])
def test_a_page_marked_as_reduced_or_a_mask_is_not_the_picture(sub: bool) -> None:
    whole = integers(COLOURS, "u1")
    small = np.zeros((16, 24, 3), np.uint8)
    for data in (
        _pages((small, 1), (whole, 0), sub=sub),
        _with_first(_pages((small, 1), (whole, 0), sub=sub), 254, 4),
        _pages((small, 1), (small, 1), (whole, 0), sub=sub),
        _pages((whole, 0), (small, 1), sub=sub),
    ):
        assert_shows(data, COLOURS)
    assert decode(_pages((small, 1)), None).pixels.shape == (16, 24, 3)  # it is all there is


@pytest.mark.parametrize("sensor", ["cfa", "linear_raw"])
def test_a_camera_raw_is_named_and_its_thumbnail_is_no_picture(sensor: str) -> None:
    thumbnail, raw = np.zeros((16, 24, 3), np.uint8), integers(RAMP if sensor == "cfa" else COLOURS, "u2")
    pattern = [(33421, 3, 2, (2, 2)), (33422, 1, 4, (0, 1, 1, 2))]
    for sub in (False, True):
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream) as writer:
            writer.write(thumbnail, photometric="rgb", subfiletype=1, subifds=int(sub) or None, metadata=None)
            writer.write(raw, photometric=sensor, extratags=pattern, metadata=None)
        assert re.match("camera raw .* is not supported", problem(stream.getvalue()).detail)
    alone = tiff(raw, photometric=sensor, extratags=pattern)
    assert "camera raw" in problem(alone).detail
    assert "camera raw" in problem(b"II*\0\x10\0\0\0CR\2\0" + bytes(100)).detail


def _png(*chunks: tuple[bytes, bytes], damaged: tuple[bytes, ...] = ()) -> bytes:
    """A small PNG with chunks before its pixels; those named in `damaged` have a wrong checksum."""
    rows = b"".join(b"\0" + row.tobytes() for row in levels(COLOURS).astype(np.uint8))
    header = (b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0))
    parts = [header, *chunks, (b"IDAT", zlib.compress(rows)), (b"tIME", bytes(7)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body))
        + name
        + body
        + struct.pack(">I", zlib.crc32(name + body) ^ (name in damaged))
        for name, body in parts
    )


@pytest.mark.parametrize(
    "chunk",
    [
        (b"tEXt", b"Comment\0" + bytes([65]) * 3_000_000),
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes([65]) * 3_000_000)),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes([65]) * 3_000_000)),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(3_000_000))),
        (b"iCCP", b"profile\0\0" + b"not compressed"),
        (b"eXIf", b"neither II nor MM"),
        (b"acTL", b"\0\0\0\2\0\0\0\0"),
        (b"prVt", bytes(10)),
    ],
)
def test_png_chunks_without_pixels_never_stand_in_the_way(chunk: tuple[bytes, bytes]) -> None:
    assert_shows(_png(chunk), COLOURS, 0)
    assert_shows(_png(chunk, damaged=(chunk[0],)), COLOURS, 0)
    assert_shows(_png(chunk, damaged=(b"tIME",)), COLOURS, 0)


def test_png_chunks_with_pixels_must_be_whole() -> None:
    assert problem(_png(damaged=(b"IHDR",))).reason == Reason.CORRUPT
    palette = Image.fromarray(levels(RAMP).astype(np.uint8)).convert("P")
    data = bytearray(pillow(palette, "PNG"))
    data[data.index(b"PLTE") + 10] ^= 1
    assert problem(bytes(data)).reason == Reason.CORRUPT


def test_many_texts_of_a_png() -> None:
    texts = PngImagePlugin.PngInfo()
    for number in range(70):
        texts.add_text(f"key {number}", "x" * 1_000_000, zip=True)
    assert_shows(pillow(Image.fromarray(levels(COLOURS).astype(np.uint8)), "PNG", pnginfo=texts), COLOURS, 0)


@pytest.mark.parametrize("header_bytes", [40, 108, 124])
def test_a_bmp_whose_alpha_is_zero_everywhere_is_opaque(header_bytes: int) -> None:
    def encoded(alpha: np.ndarray) -> bytes:
        bgra = np.dstack([levels(COLOURS)[..., ::-1], alpha]).astype(np.uint8)[::-1]
        compression = 3 if header_bytes > 40 else 0
        header = struct.pack(
            "<IiiHHIIiiII", header_bytes, WIDTH, HEIGHT, 1, 32, compression, bgra.nbytes, 0, 0, 0, 0
        )
        header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)[: header_bytes - 40]
        header = header.ljust(header_bytes, b"\0")
        start = 14 + header_bytes
        return b"BM" + struct.pack("<IHHI", start + bgra.nbytes, 0, 0, start) + header + bgra.tobytes()

    assert_shows(encoded(np.zeros_like(RAMP)), COLOURS, 0)
    assert_shows(encoded(np.full_like(RAMP, 255)), COLOURS, 0)
    if header_bytes > 40:
        left = np.where(np.arange(WIDTH) < 48, 255, 0) + np.zeros_like(RAMP)
        half = COLOURS.copy()
        half[:, 48:] = 1
        assert_shows(encoded(left), half, 0)


def _photo(seed: int = 0) -> Image.Image:
    rough = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((640, 480), Image.Resampling.BICUBIC)


JPEGS = {
    "baseline": {"quality": 90},
    "progressive": {"quality": 90, "progressive": True},
    "restarts": {"quality": 90, "restart_marker_rows": 2},
    "plain colours": {"quality": 95, "subsampling": 0},
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("filling", ["zeros", "ones", "noise"])
def test_a_jpeg_with_a_hole_is_damaged(kind: str, filling: str) -> None:
    data = pillow(_photo(), "JPEG", **JPEGS[kind])
    noise = np.random.default_rng(1).bytes(4096).replace(b"\xff\xd9", b"\xff\0")
    for place in (0.3, 0.5, 0.8):
        start = int(len(data) * place)
        hole = {"zeros": bytes(4096), "ones": b"\xff" * 4096, "noise": noise}[filling]
        for short_side_px in (None, 64):
            with pytest.raises(Undecodable) as caught:
                decode(data[:start] + hole + data[start + 4096 :], short_side_px)
            assert caught.value.reason in (Reason.CORRUPT, Reason.TRUNCATED)


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_was_cut_is_damaged_whatever_follows(kind: str, mode: str) -> None:
    data = pillow(_photo().convert(mode), "JPEG", **JPEGS[kind])
    for trailer in (b"\xff\xd9", b"video \xff\xd9" * 30, bytes(500) + b"\xff\xd9", data):
        for place in (0.4, 0.6, 0.95):
            found = problem(data[: int(len(data) * place)] + trailer)
            assert found.reason in (Reason.CORRUPT, Reason.TRUNCATED)
    assert decode(data + b"a trailer of a phone \xff\xd8 \xff\xd9", None).width == 640


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("short_side_px", [None, 200, 100, 37])
def test_sound_jpegs_have_pillows_pixels_bit_for_bit(kind: str, mode: str, short_side_px: int | None) -> None:
    data = pillow(_photo().resize((641, 479)).convert(mode), "JPEG", **JPEGS[kind])
    image = Image.open(io.BytesIO(data))
    if short_side_px:
        target = round(641 * short_side_px / 479), short_side_px
        image.draft(None, (2 * target[0], 2 * target[1]))
        image = image.convert("RGB").resize(target, Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(decode(data, short_side_px).pixels, np.asarray(image.convert("RGB")))


def test_odd_headers_and_padding_of_sound_jpegs_do_not_count_but_hide_no_damage() -> None:
    data = pillow(_photo(), "JPEG", quality=90)
    whole = decode(data, None).pixels
    odd = bytearray(data)
    odd[odd.index(b"JFIF\0") + 5] = 3  # "unknown JFIF revision"
    scan = bytearray(data)
    scan[data.index(b"\xff\xda") + 12] = 0  # "Invalid SOS parameters"
    for sound in (bytes(odd), bytes(scan), data[:-2] + bytes(12) + data[-2:]):
        np.testing.assert_array_equal(decode(sound, None).pixels, whole)
    for header in (odd, scan):
        header[40_000:44_000] = bytes(4000)
        assert problem(bytes(header)).reason == Reason.CORRUPT


@pytest.mark.parametrize("frame", [(20, 10, 50, 40), (0, 0, 40, 64), (40, 20, 96, 64)])
@pytest.mark.parametrize("transparent", [False, True])
def test_around_a_partial_first_frame_of_a_webp_is_white(frame: tuple, transparent: bool) -> None:
    left, top, right, bottom = frame
    shown = Image.new("RGBA" if transparent else "RGB", (right - left, bottom - top), (200, 30, 60))
    still = pillow(shown, "WEBP", lossless=True, exact=True)
    body = still[12:] if still[12:16] == b"VP8L" else still[30:]
    places = b"".join(
        n.to_bytes(3, "little") for n in (left // 2, top // 2, right - left - 1, bottom - top - 1, 100)
    )
    frames = struct.pack("<4sI", b"ANMF", 16 + len(body)) + places + b"\0" + body
    canvas = bytes([2 | 16 * transparent, 0, 0, 0]) + b"".join(
        n.to_bytes(3, "little") for n in (WIDTH - 1, HEIGHT - 1)
    )
    chunks = b"WEBP" + struct.pack("<4sI", b"VP8X", 10) + canvas
    chunks += struct.pack("<4sI", b"ANIM", 6) + bytes(6) + 2 * frames
    expected = np.ones((HEIGHT, WIDTH, 3))
    expected[top:bottom, left:right] = np.array([200, 30, 60]) / 255
    assert_shows(b"RIFF" + struct.pack("<I", len(chunks)) + chunks, expected, 0)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"II\xbc\x01 ", "JPEG XR"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made -->\n<svg width="1">', "SVG"),
        ('<?xml version="1.0"?><svg/ >'.encode("utf-16"), "SVG"),
        (b"<!DOCTYPE html><html><body>404", "HTML"),
        (b"\n  <HTML><head><title>Sign in", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"/annex/objects/SHA256E-s1--0.jpg", "git-annex"),
        (b"outs:\n- md5: 0\n  path: a.jpg\n", "DVC pointer"),
        (b"8BPS\0\1" + bytes(20), "Photoshop"),
        (b"%PDF-1.7 ", "PDF document is not supported; export its pages"),
        (b"PK\3\4" + bytes(20), "ZIP"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "QuickTime"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42", "MP4 video is not supported; export frames"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "camera raw"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw"),
        (b"IIU\0\x18\0\0\0", "camera raw"),
        (bytes(128) + b"DICM" + bytes(20), "DICOM"),
        (b"\0\0\1\0\1\0" + bytes(30), "icon"),
        (b"\0\5\x16\7" + bytes(20), "AppleDouble"),
        (b"\0\0\0\1Bud1" + bytes(20), "DS_Store"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(20), "Thumbs.db"),
        (b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>", "XMP"),
        (b'{"title": "IMG_1.jpg"}', "JSON"),
        (b"<note>hello</note>", "XML"),
        ("schöne Grüße\n".encode(), "text"),
        (bytes(500), "500 zero bytes"),
        (pillow(Image.new("RGB", (40, 30)), "TGA"), "Targa"),
        (pillow(Image.new("L", (40, 30)), "TGA"), "Targa"),
        (pillow(Image.new("RGB", (40, 30)), "TGA", compression="tga_rle"), "Targa"),
        (pillow(Image.new("RGB", (40, 30)), "PCX"), "PCX"),
        (pillow(Image.new("1", (40, 30)), "PCX"), "PCX"),
        (pillow(Image.new("RGB", (40, 30)), "ICO"), "Windows icon"),
        (b"\0\0\2\0\1\0\x20\x20" + bytes(30), "Windows cursor"),
        (b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(40), "Windows metafile"),
        (b"MZ\x90\0" + bytes(80), "program"),
        (gzip.compress(b"<?xml version='1.0'?><svg xmlns='x'/>", mtime=0), "SVG"),
        (gzip.compress(b"numbers", mtime=0), "gzip"),
        (b"\x01\x02\x03\x80", "4 bytes of something else"),
        (lzma.compress(b"x"), "xz"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, name: str) -> None:
    found = problem(data)
    assert found.reason == Reason.NOT_AN_IMAGE
    assert name in found.detail
