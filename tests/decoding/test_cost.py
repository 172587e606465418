"""What a header says a file costs: refused, decoded apart, or plain. Nothing here depends on time."""

import io
import random
import struct
import zlib

import pytest
from benchmarks.serving import hostile
from PIL import Image, ImageCms

from udml import pixels
from udml.decoding.cost import weigh
from udml.pixels import COMMAND, SERVICE, Budget, Reason, Undecodable, decode

AMPLE = Budget(1000, 2**40)


def refusal(data: bytes, budget: Budget = AMPLE, **how: int) -> Undecodable:
    with pytest.raises(Undecodable) as problem:
        decode(data, 96, budget=budget, **how)
    return problem.value


def exif(count: int, content: bytes = b"II") -> bytes:
    return hostile.segments_in_front(hostile.segment(0xE1, b"Exif\0\0" + content), count)


def other(marker: int, count: int, behind: bytes = b"") -> bytes:
    return hostile.segments_in_front(hostile.segment(marker, b"") + behind, count)


def texts(name: bytes, count: int) -> bytes:
    return hostile.png(8, 8, 2, hostile.chunk(name, b"a\0\0\0\0\0b") * count)


def entries(count: int) -> bytes:
    return hostile.tiff([(1000 + tag, 3, 1, bytes(4)) for tag in range(count)])


# What has a limit: a file above it, one below it that is not refused for that, and the word that is said.
LIMITS = {
    "scans": (hostile.blank_jpeg(64, 101), hostile.blank_jpeg(64, 90), "scans"),
    "scans, sequential": (hostile.blank_jpeg(64, 101, 0xC0), hostile.blank_jpeg(64, 90, 0xC0), "scans"),
    "scans, arithmetic": (hostile.blank_jpeg(64, 150, 0xCA), hostile.blank_jpeg(64, 90, 0xCA), "scans"),
    "exifs": (exif(1001), exif(900), "segments"),
    "comments": (other(0xFE, 1001), other(0xFE, 900), "segments"),
    "app segments": (other(0xEC, 2000), other(0xEC, 900), "segments"),
    "exif bytes": (exif(70, bytes(65_000)), exif(50, bytes(65_000)), "EXIF"),
    "filling": (
        hostile.segments_in_front(b"\xff", 5000),
        hostile.segments_in_front(b"\xff", 4000),
        "filling",
    ),
    "stuffing": (
        hostile.segments_in_front(b"\xff\0", 5000),
        hostile.segments_in_front(b"\xff\0", 900),
        "filling",
    ),
    "junk": (other(0xFE, 1, b"x" * 5000), other(0xFE, 1, b"x" * 3000), "filling"),
    "pieces": (
        hostile.png(8, 8, 2, hostile.chunk(b"IDAT", b"") * 100_001),
        hostile.png(8, 8, 2, hostile.chunk(b"IDAT", b"") * 9000),
        "chunks",
    ),
    "texts": (texts(b"iTXt", 100_001), texts(b"iTXt", 9000), "chunks"),
    "frames": (hostile.animated_png(100_001), hostile.animated_png(5000), "chunks"),
    "strips": (hostile.many_strips(100_001), hostile.many_strips(3000), "strips"),
    "entries": (entries(4097), entries(4096), "entries"),
    "greedy entries": (
        hostile.greedy_directory(200, 100_000),
        hostile.greedy_directory(3, 100_000),
        "times what the file holds",
    ),
    "gif comments": (hostile.commented_gif(10_001), hostile.commented_gif(4000), "comments"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_file_with_more_of_something_than_a_picture_has_is_refused_by_its_header(name):
    above, below, word = LIMITS[name]
    problem = refusal(above)
    assert (problem.reason, word in problem.detail) == (Reason.TOO_COSTLY, True), problem.detail
    weigh(below, None)


def picture(kind: str, mode: str = "RGB", side: int = 64, **how: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side), 7).save(buffer, kind, **how)
    return buffer.getvalue()


# Each with a budget of a byte less than it says that it needs.
NEEDS_MEMORY = {
    "WebP, lossless": hostile.claimed_webp(64),
    "WebP": picture("WEBP"),
    "WebP, extended": picture("WEBP", "RGBA", exif=b"Exif\0\0II*\0"),
    "PNG, 16 bits": hostile.png(64, 16, 6),
    "PNG, grey, 16 bits": hostile.png(64, 16, 0),
    "PNG, one bit": hostile.png(64, 1, 3),
    "JPEG, progressive": hostile.blank_jpeg(64, 10),
    "JPEG": picture("JPEG"),
    "TIFF": picture("TIFF"),
    "TIFF, big": picture("TIFF", big_tiff=True),
    "GIF": picture("GIF", "L"),
    "BMP": picture("BMP"),
    "PPM": picture("PPM"),
    "JPEG 2000": picture("JPEG2000"),
    "AVIF": picture("AVIF"),
}


@pytest.mark.parametrize("name", NEEDS_MEMORY)
def test_what_the_decoded_form_needs_is_counted_in_bytes(name):
    data = NEEDS_MEMORY[name]
    cost = weigh(data, None)
    assert (cost.width, cost.height) == (64, 64)
    assert cost.memory_bytes >= 64 * 64 * 4
    problem = refusal(data, Budget(1000, cost.memory_bytes - 1))
    assert (problem.reason, "MiB" in problem.detail) == (Reason.TOO_COSTLY, True)


@pytest.mark.parametrize("side", [5000, 7000])
def test_a_few_bytes_that_claim_a_large_picture_are_refused_in_the_service(side):
    problem = refusal(hostile.claimed_webp(side + 1200), SERVICE)
    assert problem.reason == Reason.TOO_COSTLY
    huge = hostile.claimed_webp(16_000)
    assert refusal(huge, SERVICE).reason == Reason.TOO_LARGE  # more pixels than allowed is said first


@pytest.mark.parametrize(
    "data",
    [
        hostile.run_length_bmp(64), hostile.ppm(64), hostile.ppm(64, 5), hostile.ppm(64, 6, 65_535),
        hostile.text_ppm(64), b"P1 64 64\n" + b"1 " * 64**2, b"P2 # so\n64 64 # is it\n 99 " + b"1 " * 64**2,
    ],
)  # fmt: skip
def test_formats_that_are_read_slowly_are_refused_by_their_pixels(data):
    assert weigh(data, None).cpu_seconds > 0
    problem = refusal(data, Budget(1e-5, 2**40))
    assert (problem.reason, "take about" in problem.detail) == (Reason.TOO_COSTLY, True)
    assert decode(data, 96).pixels.shape == (64, 64, 3)


@pytest.mark.parametrize("data", [hostile.ppm(64, 6, 255), picture("PPM", "1"), picture("BMP")])
def test_the_same_formats_as_they_are_usually_written_are_quick(data):
    assert weigh(data, None).cpu_seconds == 0


def photo(kind: str, size: tuple[int, int] = (640, 480), mode: str = "RGB", **how: object) -> bytes:
    noise = random.Random(0).randbytes(80 * 60 * 3)
    image = Image.frombytes("RGB", (80, 60), noise).resize(size).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def camera_exif() -> bytes:
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = 6, "a camera"
    return tags.tobytes()


@pytest.mark.parametrize(
    ("data", "is_plain"),
    [
        (photo("JPEG"), True),
        (photo("JPEG", progressive=True), True),
        (photo("JPEG", mode="L", exif=camera_exif()), True),
        (photo("JPEG", (2000, 1500), exif=camera_exif(), icc_profile=SRGB), True),
        (photo("JPEG", icc_profile=bytes(3000)), False),
        (photo("PNG", icc_profile=SRGB), True),
        (photo("PNG", icc_profile=bytes(3000)), False),
        (photo("PNG"), True),
        (photo("PNG", mode="RGBA"), True),
        (photo("PNG", mode="P"), True),
        (photo("JPEG", (6000, 4000)), False),
        (photo("JPEG", mode="CMYK"), False),
        (photo("PNG", (3000, 2000)), False),
        (photo("WEBP"), False),
        (photo("TIFF"), False),
        (photo("JPEG")[:200], False),
        (b"no picture", False),
    ],
)  # fmt: skip
def test_usual_pictures_are_plain_and_nothing_else_is(data, is_plain):
    assert weigh(data, 96).is_plain == is_plain


def test_only_plain_files_are_decoded_in_this_process(monkeypatch):
    """Whatever the attack: it is refused by its header, decoded apart, or bounded as plain files are."""
    here, apart = [], []
    monkeypatch.setattr(pixels, "decode_plainly", lambda data, wish: here.append(data))
    monkeypatch.setattr(pixels, "decode_apart", lambda data, wish, budget: apart.append(data))
    files = hostile.attack_files(0.2)
    refused = [name for name, data in files.items() if _is_refused(data)]
    assert len(refused) + len(here) + len(apart) == len(files)
    assert min(len(refused), len(apart)) > 5
    assert [name for name, data in files.items() if data in here] == [
        "sequential JPEG, last scan repeated",  # so small a one visits no more blocks than a photo does
        "JPEG, a restart after every block", "PNG, one bit", "PNG, more than its rows",
    ]  # fmt: skip


def _is_refused(data: bytes) -> bool:
    try:
        decode(data, 96, budget=SERVICE)
    except Undecodable as problem:
        return problem.reason == Reason.TOO_COSTLY
    return False


def test_metadata_that_takes_more_than_it_is_long_is_not_plain():
    packed = zlib.compress(bytes(2**20))
    assert not weigh(exif(1, b"II*\0" + struct.pack("<IH", 8, 600) + bytes(7200)), 96).is_plain
    greedy = hostile.segment(0xE1, hostile.greedy_exif(2500, 30_000))
    assert not weigh(hostile.segments_in_front(greedy, 1), 96).is_plain
    mpf = hostile.segment(0xE2, b"MPF\0" + hostile.greedy_exif(2500, 30_000)[6:])
    assert not weigh(hostile.segments_in_front(mpf, 1), 96).is_plain
    for name in (b"zTXt", b"iCCP"):
        assert not weigh(hostile.png(8, 8, 2, hostile.chunk(name, b"a\0\0" + packed) * 40), 96).is_plain


def test_commands_have_other_numbers_than_the_service():
    assert COMMAND.cpu_seconds > SERVICE.cpu_seconds
    assert COMMAND.memory_bytes > SERVICE.memory_bytes
