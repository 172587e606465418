"""Which page of a TIFF file is the picture, and what its tags say about its samples."""

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from udml.formats.reasons import Reason, Undecodable, unsupported

HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_PAGES = 64
_SUB_PAGES = 330
SENSOR = {32803, 34892}  # colour filter array, linear raw


@dataclass(frozen=True)
class Page:
    """One page. `tags` are Pillow's, by number; `offset` is where the directory lies in the file."""

    tags: Mapping[int, Any]
    little_endian: bool
    big: bool
    offset: int

    def one(self, tag: int, default: int) -> int:
        """A tag of one whole number."""
        value = self.tags.get(tag, default)
        return int(value[0] if isinstance(value, tuple) else value)

    def many(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """A tag of several whole numbers."""
        value = self.tags.get(tag, default)
        return value if isinstance(value, tuple) else (value,)

    @property
    def big_endian_big(self) -> bool:
        """Whether it is of a kind that Pillow takes for damaged: BigTIFF, highest bytes first."""
        return self.big and not self.little_endian

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.one(256, 0), self.one(257, 0)

    @property
    def samples(self) -> int:
        """Samples a pixel."""
        return self.one(277, 1)

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits of each sample."""
        bits = self.many(258, (1,))
        return bits * self.samples if len(bits) == 1 else bits

    @property
    def kind(self) -> int:
        """Of the samples: 1 unsigned, 2 signed, 3 float, 5 and 6 complex."""
        kinds = set(self.many(339, (1,)))
        kind = kinds.pop() if len(kinds) == 1 else 0
        return 1 if kind == 4 else kind  # "undefined" are plain numbers

    @property
    def photometric(self) -> int:
        """What samples mean: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 Lab."""
        return self.one(262, 1)

    @property
    def compression(self) -> int:
        """1 is none."""
        return self.one(259, 1)

    @property
    def planar(self) -> bool:
        """Whether each sample has a plane of its own."""
        return self.samples > 1 and self.one(284, 1) == 2

    @property
    def reduced(self) -> bool:
        """Whether it is a smaller version of another page, or a mask."""
        return bool(self.one(254, 0) & 0b101) or self.one(255, 1) == 2


def find_page(data: bytes) -> Page:
    """The page that is the picture: the first that is neither a reduced version nor a mask.

    Raises:
        Undecodable: if the directory is damaged, or what the file holds is a camera's sensor.
    """
    if data[8:10] == b"CR" and data[:4] == b"II*\0":
        raise _raw()
    try:
        first = next(_pages(data))
        if not (first.reduced or _SUB_PAGES in first.tags or first.photometric in SENSOR):
            return first
        pages = list(_pages(data))
    except StopIteration:
        raise Undecodable(Reason.TRUNCATED, "the header names no page") from None
    except Undecodable:
        raise
    except Exception as error:  # tags of wrong types and places: nearly any exception
        raise Undecodable(Reason.CORRUPT, "the header is damaged") from error
    if any(page.photometric in SENSOR for page in pages):
        raise _raw()
    return next((page for page in pages if not page.reduced), first)


def _raw() -> Undecodable:
    return unsupported("camera raw", "export it as JPEG")


def all_pages(data: bytes) -> list[Page]:
    """Every page, those inside pages too. Raises nearly anything on damaged directories."""
    return list(_pages(data))


def alone(data: bytes, page: Page) -> bytes:
    """The file as one that begins with `page`."""
    order = "<" if page.little_endian else ">"
    big = 43 in data[2:4]
    start, kind = (8, "Q") if big else (4, "I")
    place = struct.pack(order + kind, page.offset)
    return (
        data
        if data[start : start + len(place)] == place
        else data[:start] + place + data[start + len(place) :]
    )


def _pages(data: bytes) -> Iterator[Page]:
    """The chain of pages, each followed by the pages inside it."""
    big, little_endian = 43 in data[2:4], data[:2] == b"II"
    order = "<" if little_endian else ">"
    waiting = list(
        struct.unpack_from(f"{order}Q", data, 8) if big else struct.unpack_from(f"{order}I", data, 4)
    )
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_PAGES:
        offset = waiting.pop(0)
        if not 0 < offset < len(data) or offset in seen:
            continue
        seen.add(offset)
        directory = ImageFileDirectory_v2(data[: 16 if data[2] == 43 else 8])
        directory._bigtiff = big  # it looks at the third byte for it, which is right for one order only
        stream = io.BytesIO(data)
        stream.seek(offset)
        directory.load(stream)
        page = Page(directory, little_endian, big, offset)
        yield page
        waiting = [*map(int, page.many(_SUB_PAGES)), *waiting, directory.next or 0]
