"""A filter as a tree of frozen values, and written out again; what a wrong one is answered.

Nothing here is run: a tree holds names, operators and values, and only `masks` says what they mean.
"""

import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from udml.errors import UdmlError

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
KEYWORDS = frozenset({"and", "or", "not", "in", "is", "missing"})
PLAIN_NAME = re.compile(r"[^\W\d]\w*")


class FilterError(UdmlError):
    """A filter that cannot be used: what is wrong with it, and which columns there are."""


@dataclass(frozen=True)
class Value:
    """What a column is compared with.

    Attributes:
        text: as it was written, without quotes.
        quoted: whether it stood in quotes; a number or a date need not.
        at: where it begins in the filter, in letters from 0; no part of what it is.
    """

    text: str
    quoted: bool
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Name:
    """The name of a column, and where it begins."""

    text: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Comparison:
    """`name operator value`."""

    name: Name
    operator: Operator
    value: Value


@dataclass(frozen=True)
class Among:
    """`name in (value, ...)`: one of them by `=`."""

    name: Name
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Missing:
    """`name is missing`."""

    name: Name


@dataclass(frozen=True)
class Not:
    """`not part`."""

    part: "Expression"


@dataclass(frozen=True)
class And:
    """All of two parts or more."""

    parts: "tuple[Expression, ...]"


@dataclass(frozen=True)
class Or:
    """One of two parts or more."""

    parts: "tuple[Expression, ...]"


Expression: TypeAlias = Comparison | Among | Missing | Not | And | Or


def write(expression: Expression) -> str:
    """The filter that is parsed to this tree."""
    match expression:
        case And(parts):
            return " and ".join(map(_part, parts))
        case Or(parts):
            return " or ".join(map(_part, parts))
        case Not(part):
            return f"not {_part(part)}"
        case Missing(name):
            return f"{_name(name)} is missing"
        case Among(name, values):
            return f"{_name(name)} in ({', '.join(map(_value, values))})"
        case Comparison(name, operator, value):
            return f"{_name(name)} {operator} {_value(value)}"


def _part(expression: Expression) -> str:
    written = write(expression)
    return f"({written})" if isinstance(expression, And | Or) else written


def _name(name: Name) -> str:
    if PLAIN_NAME.fullmatch(name.text) and name.text.lower() not in KEYWORDS:
        return name.text
    return '"' + name.text.replace('"', '""') + '"'


def _value(value: Value) -> str:
    return "'" + value.text.replace("'", "''") + "'" if value.quoted else value.text
