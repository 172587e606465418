"""Foreign text, names of files above all, made safe to print and to write: the one place that does it."""

import math
import os
import sys
import unicodedata
from io import TextIOWrapper
from pathlib import Path

# Besides control characters (Cc): what changes the direction of all that follows, and breaks of lines.
_UNSAFE_KINDS = ("Cc", "Cs", "Zl", "Zp")
_SMALLEST_SHOWN = 1e-6
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def printable(text: str | Path) -> str:
    """Text that any UTF-8 file or terminal takes, on one line, without an effect on either.

    Bytes of a name that are not UTF-8, control characters (terminals obey them), breaks of lines and
    changes of direction become backslash escapes.
    """
    decoded = _decoded(str(text))
    if decoded.isascii() and decoded.isprintable():
        return decoded
    return "".join(_escaped(letter) if _is_unsafe(letter) else letter for letter in decoded)


def source_name(relative: str) -> str:
    """A relative path as the name of an image: forward slashes, undecodable bytes as backslash escapes."""
    text = os.fsencode(relative).decode("utf-8", "backslashreplace")
    return text.replace(os.sep, "/")


def foreign_name(text: str, most: int) -> str:
    """What a caller calls something, `printable`; of a long one the last letters, where names differ."""
    return printable(text[-most:])[-most:]


def printable_lines(text: str) -> str:
    """`printable`, but line feeds stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def readable(value: float, digits: int = 3) -> str:
    """A number for people: `digits` significant ones, no exponent, a comma at each thousand.

    Whole digits before the point all stay: 3,086 rather than 3,090. What is nearer to 0 than six decimals
    show is said to be so.
    """
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "infinite" if value > 0 else "-infinite"
    if value == 0:
        return "0"
    if abs(value) < _SMALLEST_SHOWN:
        return f"{'above -' if value < 0 else 'under '}{_SMALLEST_SHOWN:f}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    shown = f"{value:,.{decimals}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def accept_any_text() -> None:
    """Make stdout and stderr print what their encoding lacks as escapes instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _decoded(text: str) -> str:
    """Bytes that were not UTF-8, as Python keeps them in names of files, as what they are or as escapes."""
    if text.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in text):
        return text
    try:
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # halves of UTF-16 are there too, which no name of a file has
        return text


def _is_unsafe(letter: str) -> bool:
    return unicodedata.category(letter) in _UNSAFE_KINDS or letter in _DIRECTIONS


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
