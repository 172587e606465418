r"""Texts with `*` for any letters, none too, and `?` for any one; behind a `\` they are themselves.

A pattern is cut at its stars. What is left is looked for from the left to the right, each once, so that the
time for a text is its length times that of the pattern at most: there is nothing to go back to.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

_ESCAPED = "*?\\"


@dataclass(frozen=True)
class Glob:
    """A pattern.

    Attributes:
        pieces: what stands between stars, as letters, None for any one; a single piece has no star beside it.
    """

    pieces: tuple[tuple[str | None, ...], ...]

    @property
    def literal(self) -> str | None:
        """The one text that matches, if no letter is left open."""
        (first, *more) = self.pieces
        return None if more or None in first else "".join(letter or "" for letter in first)


def glob_of(pattern: str) -> Glob:
    """A pattern, read."""
    pieces: list[list[str | None]] = [[]]
    letters = iter(unicodedata.normalize("NFC", pattern))
    for letter in letters:
        if letter == "*":
            pieces.append([])
        elif letter == "?":
            pieces[-1].append(None)
        elif letter == "\\":
            following = next(letters, "\\")
            pieces[-1] += [following] if following in _ESCAPED else ["\\", following]
        else:
            pieces[-1].append(letter)
    first, *between = pieces
    kept = [piece for piece in between[:-1] if piece] + between[-1:]  # stars beside each other are one
    return Glob(tuple(map(tuple, [first, *kept])))


def matcher(glob: Glob) -> Callable[[str], bool]:
    """Tells of a text whether it matches; texts are compared as NFC, as which a name looks the same."""
    first, *between = (_piece(piece) for piece in glob.pieces)
    if not between:
        return lambda text: first.fullmatch(_nfc(text)) is not None
    *middle, last = between
    tail = len(glob.pieces[-1])

    def matches(text: str) -> bool:
        text = _nfc(text)
        found = first.match(text)
        for piece in middle:
            found = found and piece.search(text, found.end())
        return found is not None and _ends_with(text, last, max(found.end(), len(text) - tail))

    return matches


def _ends_with(text: str, piece: "re.Pattern[str]", start: int) -> bool:
    return piece.fullmatch(text, start) is not None


def _piece(letters: tuple[str | None, ...]) -> "re.Pattern[str]":
    """Nothing in it repeats, so there is one way to match it at a place."""
    return re.compile("".join("." if one is None else re.escape(one) for one in letters), re.DOTALL)


def _nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)
