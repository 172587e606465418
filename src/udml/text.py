"""Foreign text, names of files above all, made safe to print and to write: the one place that does it."""

import os
import sys
import unicodedata
from io import TextIOWrapper
from pathlib import Path

# Besides control characters (Cc): what changes the direction of all that follows, and breaks of lines.
_UNSAFE_KINDS = ("Cc", "Cs", "Zl", "Zp")
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def printable(text: str | Path) -> str:
    """Text that any UTF-8 file or terminal takes, on one line, without an effect on either.

    Bytes of a name that are not UTF-8, control characters (terminals obey them), breaks of lines and
    changes of direction become backslash escapes.
    """
    decoded = (
        os.fsencode(str(text)).decode("utf-8", "backslashreplace") if _has_bytes(str(text)) else str(text)
    )
    if decoded.isascii() and decoded.isprintable():
        return decoded
    return "".join(_escaped(letter) if _is_unsafe(letter) else letter for letter in decoded)


def source_name(relative: str) -> str:
    """A relative path as the name of an image: forward slashes, undecodable bytes as backslash escapes."""
    text = os.fsencode(relative).decode("utf-8", "backslashreplace")
    return text.replace(os.sep, "/")


def printable_lines(text: str) -> str:
    """`printable`, but line feeds stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def accept_any_text() -> None:
    """Make stdout and stderr print what their encoding lacks as escapes instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _has_bytes(text: str) -> bool:
    """Whether it holds bytes that were not UTF-8, as Python keeps them in names of files."""
    return not text.isascii() and any("\udc80" <= letter <= "\udcff" for letter in text)


def _is_unsafe(letter: str) -> bool:
    return unicodedata.category(letter) in _UNSAFE_KINDS or letter in _DIRECTIONS


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
