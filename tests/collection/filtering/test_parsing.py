"""Filters are read as the grammar says, written out as they are read, and refused with a sentence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.collection.filtering.made_up import columns_from, expressions
from udml.collection.filtering import parsing
from udml.collection.filtering.expression import (
    Among,
    And,
    Comparison,
    FilterError,
    Missing,
    Name,
    Not,
    Or,
    Value,
    write,
)
from udml.collection.filtering.masks import tree_of
from udml.collection.filtering.parsing import MOST_DEPTH, MOST_VALUES, parse
from udml.collection.filtering.tokens import MOST_LETTERS

COLUMNS = columns_from([{}])


def test_what_is_written_in_an_issue():
    tree = parse("folder = '2024/*' and taken > 2024-05")
    assert tree == And(
        (
            Comparison(Name("folder"), "=", Value("2024/*", True)),
            Comparison(Name("taken"), ">", Value("2024-05", False)),
        )
    )


def test_and_binds_closer_than_or_and_not_closer_than_both():
    a, b, c = (Missing(Name(name)) for name in "abc")
    assert parse("a is missing or b is missing and not c is missing") == Or((a, And((b, Not(c)))))
    assert parse("(a is missing OR b is missing) AND c IS NOT MISSING") == And((Or((a, b)), Not(c)))
    assert parse("a not in ('x', 'it''s')") == Not(Among(Name("a"), (Value("x", True), Value("it's", True))))


@settings(max_examples=200)
@given(expressions)
def test_what_is_written_out_is_read_as_the_same(tree):
    read = parsing.parse.__wrapped__(write(tree))
    assert read == tree
    assert hash(read) == hash(tree)
    assert write(read) == write(tree)


@settings(max_examples=300)
@given(st.text(max_size=60) | st.text("'\"()=<>!, \\*?andorti-0129.", max_size=60))
def test_any_text_is_a_filter_or_a_sentence(text):
    tree, told = None, None
    try:
        tree = parsing.parse.__wrapped__(text)
    except FilterError as error:
        told = error
    if tree is None:
        assert told.what.startswith("the filter ")
        assert "\n" not in told.what
        told.what.encode()
    else:
        assert parsing.parse.__wrapped__(write(tree)) == tree


WRONG = {
    "": (1, "the name of a column"),
    "folder": (7, "expected is =, !="),
    "folder =": (9, "a value"),
    "folder = label": (10, "a text stands in single quotes"),
    "folder = 'a' label = 'b'": (14, "and, or, or its end"),
    "folder = 'a": (10, "not closed"),
    '"folder = \'a\'': (1, "not closed"),
    "(folder = 'a'": (14, '")"'),
    "folder in ()": (12, "a value"),
    "folder in ('a' 'b')": (16, '")"'),
    "folder is 'a'": (11, '"missing"'),
    "folder == 'a'": (9, "a value"),
    "and = 'a'": (1, "the name of a column"),
    "folder = 'a'; DROP TABLE items": (13, "has no meaning"),
    "folder = 'a' -- ": (14, "has no meaning"),
    "1 = 1": (1, "the name of a column"),
    "folder = 'a' or 1=1": (17, "the name of a column"),
    "folder LIKE '%'": (8, "expected is"),
    "folder = char(65)": (10, "a value"),
    "folder = \"a\"": (10, "a value"),
    "__import__('os').system('id')": (17, "has no meaning"),
    "folder = 'a\0b'": (10, "no text can have"),
    "folder = '\ud800'": (10, "no text can have"),
    "folder\0 = 'a'": (7, "has no meaning"),
    "folder\u202e = 'a'": (7, "has no meaning"),
    "camra = 'x'": (1, 'no column "camra"'),
    "label = 'a' and Folder = 'x'": (17, 'no column "Folder"'),
    "label = 2024": (9, "is a text: write '2024'"),
    "width = 'a'": (9, "is a number"),
    "width = 1e999": (9, "is a number"),
    "width = 12px": (9, "is a number"),
    "width = 0x10": (9, "is a number"),
    "taken = 'yesterday'": (9, "no date such as 2024"),
    "taken = 2024-13": (9, "no date"),
    "taken = 2024-06-31": (9, "no date"),
    "taken = 20240501": (9, "no date"),
    "taken = 2024-5": (9, "no date"),
    "taken in (2024, '2024-*')": (17, "no date"),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_filter_is_told_where_why_and_which_columns_there_are(text):
    letter, words = WRONG[text]
    with pytest.raises(FilterError) as told:
        tree_of(text, COLUMNS)
    assert told.value.what.startswith(f"the filter is wrong at letter {letter}: ")
    assert words in told.value.what
    assert told.value.hint.startswith("the columns are folder (text), taken (time), label (text)")
    assert str(told.value).isprintable() or str(told.value).count("\n") == 1


HUGE = {
    "letters": "label = '" + "a" * MOST_LETTERS + "'",
    "parentheses": "(" * (MOST_DEPTH + 1) + "label = 'a'" + ")" * (MOST_DEPTH + 1),
    "many parentheses": "(" * 1900,
    "not": "not " * (MOST_DEPTH + 1) + "label = 'a'",
    "values": "label in (" + ",".join(["'a'"] * (MOST_VALUES + 1)) + ")",
    "tests": " or ".join(["width=1"] * (MOST_VALUES + 1)),
    "quotes": "label = " + "''" * 900,
    "an open quote": "label = '" + "''" * 900,
}


@pytest.mark.parametrize("what", [name for name in HUGE if name != "quotes"])
def test_what_is_too_large_is_told_and_nothing_else_happens(what):
    with pytest.raises(FilterError, match="letter"):
        tree_of(HUGE[what], COLUMNS)


def test_what_is_just_small_enough_is_read():
    deep = "(" * MOST_DEPTH + "label = 'a'" + ")" * MOST_DEPTH
    assert tree_of(deep, COLUMNS) == Comparison(Name("label"), "=", Value("a", True))
    assert tree_of("label in (" + ",".join(["'a'"] * MOST_VALUES) + ")", COLUMNS)
    assert tree_of(HUGE["quotes"], COLUMNS) == Comparison(Name("label"), "=", Value("'" * 899, True))


def test_without_columns_a_filter_is_told_how_to_get_some():
    with pytest.raises(FilterError, match="dvc repro index"):
        tree_of("label = 'a'", {})
