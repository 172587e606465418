"""Which rows of columns meet a filter. Nothing of it is run: names are looked up, values are compared.

A missing value meets no comparison, `!=` neither; `not` turns round what came of it, and so has the
missing ones. Shapes: n rows.
"""

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from udml import deadlines
from udml.collection.filtering.expression import (
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
from udml.collection.filtering.globs import glob_of, matcher
from udml.collection.filtering.moments import Stretch, stretch_of
from udml.collection.filtering.parsing import parse
from udml.collection.filtering.tokens import shortened, wrong
from udml.errors import BusyError
from udml.search.columns import Column, Columns

_MOST_TOLD = 20  # columns, in a sentence
_COMPARED: dict[Operator, Callable[[np.ndarray, float], np.ndarray]] = {
    "=": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal,
    ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip


def tree_of(text: str, columns: Columns) -> Expression:
    """The tree of a filter on these columns.

    Raises:
        FilterError: if it is none, or a column or a value of it is none of theirs.
    """
    try:
        expression = parse(text)
        check(expression, columns)
    except FilterError as error:
        raise FilterError(error.what, columns_told(columns)) from error
    return expression


def mask_of(expression: Expression, columns: Columns, count: int) -> np.ndarray:
    """Which rows meet a filter.

    Args:
        expression: from `tree_of`, on columns of these names and kinds.
        columns: of n rows; may lack a column, which is missing in all rows then.
        count: n.

    Returns:
        bool [n].

    Raises:
        BusyError: if whoever asked waits no more.
    """
    if deadlines.is_over():
        raise BusyError("the filter took too long", "ask with fewer patterns")
    inside = partial(mask_of, columns=columns, count=count)
    match expression:
        case And(parts):
            return np.logical_and.reduce([inside(part) for part in parts])
        case Or(parts):
            return np.logical_or.reduce([inside(part) for part in parts])
        case Not(part):
            return ~inside(part)
    column = columns.get(expression.name.text)
    return np.full(count, isinstance(expression, Missing)) if column is None else _tested(expression, column)


def check(expression: Expression, columns: Columns) -> None:
    """Raise a FilterError where a name or a value does not fit these columns."""
    match expression:
        case And(parts) | Or(parts):
            for part in parts:
                check(part, columns)
        case Not(part):
            check(part, columns)
        case Missing(name):
            _column(name, columns)
        case Among(name, values):
            for value in values:
                _check_value(_column(name, columns), name, value)
        case Comparison(name, _, value):
            _check_value(_column(name, columns), name, value)


def columns_told(columns: Columns) -> str:
    """Which columns there are, a sentence."""
    if not columns:
        return "this version has no columns to filter by; index it again with `dvc repro index` to get some"
    named = [f"{shortened(name)} ({column.kind})" for name, column in columns.items()]
    more = f" and {len(named) - _MOST_TOLD} more" if len(named) > _MOST_TOLD else ""
    return f"the columns are {', '.join(named[:_MOST_TOLD])}{more}"


def _column(name: Name, columns: Columns) -> Column:
    if name.text not in columns:
        raise wrong(name.at, f'there is no column "{shortened(name.text)}"')
    return columns[name.text]


def _check_value(column: Column, name: Name, value: Value) -> None:
    told = f'"{shortened(value.text)}"'
    match column.kind:
        case "text" if not value.quoted:
            raise wrong(value.at, f"{shortened(name.text)} is a text: write '{shortened(value.text)}'")
        case "number" if value.quoted or _number(value.text) is None:
            raise wrong(value.at, f"{shortened(name.text)} is a number, {told} is none")
        case "time" if stretch_of(value.text) is None:
            dates = "2024, 2024-05, 2024-05-01 or 2024-05-01T12:30"
            raise wrong(value.at, f"{shortened(name.text)} is a time, {told} is no date such as {dates}")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _tested(test: Comparison | Among | Missing, column: Column) -> np.ndarray:
    match test:
        case Missing():
            return column.is_missing
        case Among(_, values):
            return _among(column, values)
        case Comparison(_, operator, value):
            return _compared(column, operator, value)


def _among(column: Column, values: Sequence[Value]) -> np.ndarray:
    if column.kind == "text":
        return _by_text(column, _one_of([value.text for value in values]))
    return np.logical_or.reduce([_compared(column, "=", value) for value in values])


def _compared(column: Column, operator: Operator, value: Value) -> np.ndarray:
    match column.kind:
        case "text" if operator in ("=", "!="):
            equal = _by_text(column, _one_of([value.text]))
            return equal if operator == "=" else ~equal & (column.values >= 0)
        case "text":
            text = unicodedata.normalize("NFC", value.text)
            return _by_text(column, lambda one: _is_ordered(operator, one, text))
        case "number":
            number = _number(value.text)
            assert number is not None  # `check` saw to it
            return _COMPARED[operator](column.values, number) & ~np.isnan(column.values)
        case "time":
            stretch = stretch_of(value.text)
            assert stretch is not None
            return _in_time(column.values, operator, stretch) & ~column.is_missing


def _by_text(column: Column, meets: Callable[[str], bool]) -> np.ndarray:
    """Rows whose text meets something that is asked once of each different text."""
    met = np.fromiter(map(meets, column.texts), np.bool_, len(column.texts))
    return np.append(met, False)[column.values]  # -1, missing, is the last one


def _one_of(patterns: Sequence[str]) -> Callable[[str], bool]:
    globs = list(map(glob_of, patterns))
    texts = {glob.literal for glob in globs if glob.literal is not None}
    open_ones = [matcher(glob) for glob in globs if glob.literal is None]

    def meets(text: str) -> bool:
        return unicodedata.normalize("NFC", text) in texts or any(matches(text) for matches in open_ones)

    return meets


def _is_ordered(operator: Operator, text: str, other: str) -> bool:
    """Whether two texts stand so, letter by letter as Unicode numbers them."""
    text = unicodedata.normalize("NFC", text)
    match operator:
        case "<":
            return text < other
        case "<=":
            return text <= other
        case ">":
            return text > other
        case _:
            return text >= other


def _in_time(seconds: np.ndarray, operator: Operator, stretch: Stretch) -> np.ndarray:
    match operator:
        case "=":
            return (seconds >= stretch.start) & (seconds < stretch.end)
        case "!=":
            return (seconds < stretch.start) | (seconds >= stretch.end)
        case "<":
            return seconds < stretch.start
        case "<=":
            return seconds < stretch.end
        case ">":
            return seconds >= stretch.end
        case ">=":
            return seconds >= stretch.start
