"""The few tags of EXIF that are read: when, and by what camera. Others are passed over, GPS among them."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from udml.formats.exif.tags import Tag, tags_of

_MAKE, _MODEL, _CHANGED, _DETAILS = 0x010F, 0x0110, 0x0132, 0x8769
_TAKEN, _DIGITIZED = 0x9003, 0x9004
_MOST_LETTERS = 64  # of a maker, and of a model
_YEARS = range(1800, 2200)  # of photographs, scans of the first ones among them, and clocks a little off
_MOMENT = re.compile(
    r"(\d{4})[:\-/.](\d{1,2})[:\-/.](\d{1,2})(?:[ T]+(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?)?(?![\d:])"
)


@dataclass(frozen=True)
class Facts:
    """What a camera wrote.

    Attributes:
        taken: seconds since 1970 of what the camera's clock showed, without any zone; None where it says
            nothing, or nonsense.
        camera: maker and model, at most 129 letters, without control characters; None where it says nothing.
    """

    taken: int | None = None
    camera: str | None = None


NOTHING = Facts()


def facts_in(block: bytes) -> Facts:
    """What EXIF, which begins as a TIFF file does, says; see `udml.formats.exif.facts_of`."""
    first = tags_of(block, None, (_MAKE, _MODEL, _CHANGED, _DETAILS, _TAKEN))
    more = first.get(_DETAILS)
    details = tags_of(block, more.number, (_TAKEN, _DIGITIZED)) if more is not None else {}
    # when it was taken (raw files may say so in the first directory), made digital, written
    moments = (details.get(_TAKEN), first.get(_TAKEN), details.get(_DIGITIZED), first.get(_CHANGED))
    taken = next((found for found in map(_moment, moments) if found is not None), None)
    return Facts(taken, camera_of(_text(first.get(_MAKE)), _text(first.get(_MODEL))))


def seconds_of(parts: Iterable[str | None]) -> int | None:
    """Year, month, day and, where given, hour, minute, second, as seconds since 1970; None for nonsense."""
    try:
        year, month, day, hour, minute, second = (int(part or 0) for part in parts)
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError:
        return None


def camera_of(make: str, model: str) -> str | None:
    """One name of both: the maker is not said again where the model begins with a word of its name."""
    first_word = model.split(" ", maxsplit=1)[0].casefold()
    said_already = first_word in make.casefold().split(" ") or model.casefold().startswith(make.casefold())
    return (model if model and said_already else f"{make} {model}".strip()) or None


def _moment(tag: Tag | None) -> int | None:
    found = _MOMENT.match(_text(tag))
    return seconds_of(found.groups()) if found and int(found[1]) in _YEARS else None


def _text(tag: Tag | None) -> str:
    """A tag's text up to its first NUL, without letters that are not shown, single spaces between words."""
    if tag is None:
        return ""
    content = tag.content.split(b"\0")[0]
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if text.isascii() and text.isprintable():
        return " ".join(text.split())[:_MOST_LETTERS].strip()
    shown = (" " if unicodedata.category(c)[0] in "CZ" else c for c in unicodedata.normalize("NFC", text))
    return " ".join("".join(shown).split())[:_MOST_LETTERS].strip()
