"""A filter cut into words: names, values, signs."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from udml.collection.filtering.expression import KEYWORDS, FilterError
from udml.text import printable

MOST_LETTERS = 2000
_SHOWN = 40  # letters of what is wrong
Kind = Literal["word", "name", "text", "plain", "sign", "end"]
# One alternative each, none of which can match another way: the time is linear in the letters.
_WORDS = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | '(?P<text>(?:[^']|'')*)'
  | "(?P<name>(?:[^"]|"")*)"
  | (?P<sign><=|>=|!=|[=<>(),])
  | (?P<plain>[+-]?\.?[0-9][0-9A-Za-z+\-.:]*)
  | (?P<word>[^\W\d]\w*)
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """A word of a filter.

    Attributes:
        kind: "word" for what stands without quotes, a keyword or a name; "name" in double quotes, "text" in
            single ones; "plain" for a number or a date; "end" behind the last one.
        text: what it says, without quotes; keywords in small letters.
        at: where it begins, in letters from 0.
    """

    kind: Kind
    text: str
    at: int

    def shown(self) -> str:
        """As a sentence names it."""
        return "its end" if self.kind == "end" else f'"{shortened(self.text)}"'


def wrong(at: int, sentence: str) -> FilterError:
    """A filter that is wrong at a letter, counted from 0."""
    return FilterError(f"the filter is wrong at letter {at + 1}: {sentence}")


def shortened(text: str) -> str:
    """Foreign text in a sentence."""
    return printable(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


def tokens_of(text: str) -> list[Token]:
    """All words of a filter, and the end.

    Raises:
        FilterError: if it is too long, or has something in it that is no word.
    """
    if len(text) > MOST_LETTERS:
        raise FilterError(f"the filter has {len(text):,} letters, {MOST_LETTERS:,} are allowed")
    return [*_cut(text), Token("end", "", len(text))]


def _cut(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        found = _WORDS.match(text, at)
        if found is None:
            raise _unknown(text, at)
        if (token := _token(found)) is not None:
            yield token
        at = found.end()


def _token(found: "re.Match[str]") -> Token | None:
    word, at = found[0], found.start()
    match found.lastgroup:
        case "space":
            return None
        case "text":
            return Token("text", _usable(word[1:-1].replace("''", "'"), at), at)
        case "name":
            return Token("name", _usable(word[1:-1].replace('""', '"'), at), at)
        case "sign":
            return Token("sign", word, at)
        case "plain":
            return Token("plain", word, at)
    return Token("word", word.lower() if word.lower() in KEYWORDS else word, at)


def _usable(text: str, at: int) -> str:
    """Text that no column can hold is a mistake, or worse: zeros, and halves of pairs of UTF-16."""
    if any(letter == "\0" or unicodedata.category(letter) == "Cs" for letter in text):
        raise wrong(at, "there is a letter in quotes that no text can have")
    return text


def _unknown(text: str, at: int) -> FilterError:
    if text[at] in "'\"":
        return wrong(at, f"the quote {text[at]} is not closed")
    return wrong(at, f'"{shortened(text[at])}" has no meaning here')
