"""From text to a tree.

The grammar, in which words may be written in capitals, too:

    filter     = both {"or" both}
    both       = one {"and" one}
    one        = "not" one | "(" filter ")" | test
    test       = name operator value
               | name ["not"] "in" "(" value {"," value} ")"
               | name "is" ["not"] "missing"
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">="
    name       = a word of letters, digits and _, or anything in double quotes ("" for one)
    value      = text in single quotes ('' for one) | number | date

What a value means depends on its column: see `masks`.
"""

from functools import lru_cache
from typing import cast, get_args

from udml.collection.filtering.expression import (
    KEYWORDS,
    Among,
    And,
    Comparison,
    Expression,
    FilterError,
    Missing,
    Name,
    Not,
    Operator,
    Or,
    Value,
)
from udml.collection.filtering.tokens import Token, tokens_of, wrong

MOST_DEPTH = 32  # of parentheses and "not" within each other
MOST_VALUES = 200  # that something is compared with
_OPERATORS = get_args(Operator)


@lru_cache(256)
def parse(text: str) -> Expression:
    """The tree of a filter.

    Raises:
        FilterError: if it is none, saying at which letter; too long, too deep, or of too many values.
    """
    parser = _Parser(tokens_of(text))
    expression = parser.either(0)
    parser.expect_end()
    return expression


class _Parser:
    """Goes through the words once, from the first to the last."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._values = 0

    def either(self, depth: int) -> Expression:
        """Parts with "or" between them."""
        parts = [self._both(depth)]
        while self._takes("word", "or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def expect_end(self) -> None:
        """Nothing may follow."""
        if self._next.kind != "end":
            raise self._expected("and, or, or its end")

    def _both(self, depth: int) -> Expression:
        parts = [self._one(depth)]
        while self._takes("word", "and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self, depth: int) -> Expression:
        at = self._next.at
        if self._takes("word", "not"):
            return Not(self._one(self._deeper(depth, at)))
        if self._takes("sign", "("):
            inside = self.either(self._deeper(depth, at))
            self._require("sign", ")")
            return inside
        return self._test()

    def _test(self) -> Expression:
        name = self._name()
        if self._takes("word", "is"):
            negated = self._takes("word", "not")
            self._require("word", "missing")
            return Not(Missing(name)) if negated else Missing(name)
        if self._takes("word", "not"):
            self._require("word", "in")
            return Not(self._among(name))
        if self._takes("word", "in"):
            return self._among(name)
        if self._next.kind != "sign" or self._next.text not in _OPERATORS:
            raise self._expected("=, !=, <, <=, >, >=, in, or is missing")
        return Comparison(name, cast(Operator, self._take().text), self._value())

    def _among(self, name: Name) -> Among:
        self._require("sign", "(")
        values = [self._value()]
        while self._takes("sign", ","):
            values.append(self._value())
        self._require("sign", ")")
        return Among(name, tuple(values))

    def _name(self) -> Name:
        token = self._next
        if token.kind == "name" or (token.kind == "word" and token.text not in KEYWORDS):
            return Name(self._take().text, token.at)
        raise self._expected("the name of a column")

    def _value(self) -> Value:
        token = self._next
        if token.kind not in ("text", "plain"):
            raise self._expected("a value (a text stands in single quotes)")
        self._values += 1
        if self._values > MOST_VALUES:
            raise wrong(token.at, f"{MOST_VALUES} values are allowed")
        return Value(self._take().text, token.kind == "text", token.at)

    def _deeper(self, depth: int, at: int) -> int:
        if depth == MOST_DEPTH:
            raise wrong(at, f"parentheses and not may lie {MOST_DEPTH} deep")
        return depth + 1

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _take(self) -> Token:
        self._place += 1
        return self._tokens[self._place - 1]

    def _takes(self, kind: str, text: str) -> bool:
        """Whether this comes next; it is taken then."""
        found = (self._next.kind, self._next.text) == (kind, text)
        self._place += found
        return found

    def _require(self, kind: str, text: str) -> None:
        if not self._takes(kind, text):
            raise self._expected(f'"{text}"')

    def _expected(self, what: str) -> FilterError:
        return wrong(self._next.at, f"expected is {what}, and there is {self._next.shown()}")
