"""Random columns, random filters on them, and what a filter means, said again one row at a time."""

import calendar
from datetime import datetime, timedelta
from functools import cache

from hypothesis import strategies as st

from udml.collection.filtering.expression import Among, And, Comparison, Missing, Name, Not, Or, Value
from udml.search.columns import columns_of

KINDS = {"folder": "text", "taken": "time", "label": "text", "width": "number", 'odd "name" and': "text"}
TEXTS = [
    "",
    "a",
    "ab",
    "b*",
    "2024/05",
    "2024",
    "it's",
    "Größe",
    "Gro\u0308ße".replace("o\u0308", "ö"),
    "x\ny",
    "\\",
    "AND",
]
PATTERNS = [
    *TEXTS,
    "*",
    "?",
    "a*",
    "*b",
    "*a*b*",
    "2024/*",
    "b\\*",
    "\\\\",
    "??",
    "*?",
    "Gr*",
    "\\?",
    "a\\",
    "*\n*",
]
SECONDS = [0, -1, 1, 1714521599, 1714521600, 1714566600, 1717199999, 1717200000, 253402300799, -62135596800]
DATES = [
    "2024", "2024-04", "2024-05", "2024-05-01", "2024-05-01T12:30", "2024-05-01T12:30:00", "2024-05-01 12:30",
    "1970", "1969-12-31T23:59:59", "9999", "0001", "2024-02-29",
]  # fmt: skip
NUMBERS = ["0", "-1", "3.5", "1e3", "+2", ".5", "2.", "1000"]

rows = st.lists(
    st.fixed_dictionaries(
        {
            "folder": st.none() | st.sampled_from(TEXTS),
            "label": st.none() | st.sampled_from(TEXTS),
            'odd "name" and': st.none() | st.sampled_from(TEXTS),
            "taken": st.none() | st.sampled_from(SECONDS),
            "width": st.none() | st.sampled_from([0.0, -1.0, 3.5, 1000.0, 0.5, 2.0, 7.0]),
        }
    ),
    max_size=30,
)


def columns_from(made):
    return columns_of(made, KINDS)


@st.composite
def _test(draw):
    name = draw(st.sampled_from(list(KINDS)))
    operator = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]))
    values = {
        "text": st.builds(Value, st.sampled_from(PATTERNS), st.just(True)),
        "number": st.builds(Value, st.sampled_from(NUMBERS), st.just(False)),
        "time": st.builds(
            lambda date, quoted: Value(date, quoted or " " in date), st.sampled_from(DATES), st.booleans()
        ),
    }[KINDS[name]]  # fmt: skip
    return draw(
        st.one_of(
            st.builds(Comparison, st.just(Name(name)), st.just(operator), values),
            st.builds(Among, st.just(Name(name)), st.lists(values, min_size=1, max_size=4).map(tuple)),
            st.just(Missing(Name(name))),
        )
    )


def _larger(part):
    some = st.lists(part, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(Not, part), st.builds(And, some), st.builds(Or, some))


expressions = st.recursive(_test(), _larger, max_leaves=8)


def meets(tree, row):
    """What a filter says of one row, a dictionary."""
    match tree:
        case And(parts):
            return all(meets(part, row) for part in parts)
        case Or(parts):
            return any(meets(part, row) for part in parts)
        case Not(part):
            return not meets(part, row)
        case Among(name, values):
            return any(meets(Comparison(name, "=", value), row) for value in values)
    value = row[tree.name.text]
    if value is None or isinstance(tree, Missing):
        return value is None and isinstance(tree, Missing)
    low, high, value = _between(tree, value)
    return {
        "=": low <= value <= high, "!=": not low <= value <= high, "<": value < low, "<=": value <= high,
        ">": value > high, ">=": value >= low,
    }[tree.operator]  # fmt: skip


def _between(tree, value):
    """The least and the greatest that equals what is asked, and the row's own, all as they are ordered."""
    asked, kind = tree.value.text, KINDS[tree.name.text]
    if kind == "number":
        return float(asked), float(asked), value
    if kind == "text":
        if tree.operator in ("=", "!="):
            return (1, 1, int(globbed(asked, value)))
        return asked, asked, value
    start, end = stretch(asked.replace(" ", "T"))
    return start, end, value


def stretch(date):
    """First and last second of a date, since 1970."""
    day, _, clock = date.partition("T")
    year, month, number = ([*map(int, day.split("-")), 0, 0])[:3]
    first = datetime(year, month or 1, number or 1)
    last = datetime(year, month or 12, number or calendar.monthrange(year, month or 12)[1], 23, 59, 59)
    if clock:
        parts = [*map(int, clock.split(":"))]
        first = datetime(year, month, number, *parts)
        last = first if len(parts) == 3 else first + timedelta(seconds=59)
    epoch = datetime(1970, 1, 1)
    return tuple(int((moment - epoch) / timedelta(seconds=1)) for moment in (first, last))


@cache
def globbed(pattern, text):
    """Whether a text matches, by trying everything."""
    if not pattern:
        return not text
    head, rest = pattern[0], pattern[1:]
    if head == "*":
        return globbed(rest, text) or (bool(text) and globbed(pattern, text[1:]))
    if head == "\\" and rest and rest[0] in "*?\\":
        head, rest = rest[0], rest[1:]
    elif head == "?":
        head = text[:1]
    return bool(text) and text[0] == head and globbed(rest, text[1:])
