"""Masks of filters, beside what the filter says of one row at a time; patterns beside trying everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.collection.filtering.made_up import columns_from, expressions, globbed, meets, rows
from udml.collection.filtering.expression import write
from udml.collection.filtering.globs import glob_of, matcher
from udml.collection.filtering.masks import mask_of, tree_of


@settings(max_examples=300)
@given(expressions, rows)
def test_a_mask_is_what_the_filter_says_of_each_row(tree, made):
    columns = columns_from(made)
    assert tree_of(write(tree), columns) == tree
    mask = mask_of(tree, columns, len(made))
    assert mask.dtype == bool
    assert mask.tolist() == [meets(tree, row) for row in made]


@settings(max_examples=50)
@given(expressions, rows)
def test_a_column_that_is_not_there_is_missing_in_every_row(tree, made):
    without = {name: column for name, column in columns_from(made).items() if name != "label"}
    expected = [meets(tree, {**row, "label": None}) for row in made]
    assert mask_of(tree, without, len(made)).tolist() == expected


@settings(max_examples=400)
@given(st.text("ab*?\\", max_size=8), st.text("ab*?\\", max_size=8))
def test_patterns_match_what_trying_everything_matches(pattern, text):
    assert matcher(glob_of(pattern))(text) == globbed(pattern, text)


@pytest.mark.parametrize(
    ("filter_", "times", "met"),
    [
        ("taken = 2024-05", ["2024-04-30T23:59:59", "2024-05-01", "2024-05-31", "2024-06-01"], "0110"),
        ("taken > 2024-05", ["2024-05-31T23:59:59", "2024-06-01", "2025-01-01"], "011"),
        ("taken >= 2024-05", ["2024-04-30T23:59:59", "2024-05-01", "2024-06-01"], "011"),
        ("taken < 2024", ["2023-12-31T23:59:59", "2024-01-01"], "10"),
        ("taken <= 2024", ["2024-12-31T23:59:59", "2025-01-01"], "10"),
        ("taken != 2024-02-29", ["2024-02-28", "2024-02-29T12:00:00", "2024-03-01"], "101"),
        ("taken = 2024-05-01T12:30", ["2024-05-01T12:29", "2024-05-01T12:30:59", "2024-05-01T12:31"], "010"),
        ("taken in (2023, 2025-01)", ["2023-07-01", "2024-07-01", "2025-01-31", "2025-02-01"], "1010"),
    ],
)  # fmt: skip
def test_a_date_is_all_of_the_time_it_names(filter_, times, met):
    made = [{"taken": int(np.datetime64(time, "s").astype(int))} for time in times] + [{}]
    columns = columns_from(made)
    found = mask_of(tree_of(filter_, columns), columns, len(made))
    assert found.tolist() == [one == "1" for one in met] + [False]


@pytest.mark.parametrize(
    ("pattern", "text", "is_met"),
    [
        ("*a" * 900 + "b", "a" * 20_000, False),
        ("*a" * 900 + "*", "a" * 20_000, True),
        ("?" * 1900, "a" * 1900, True),
        ("*" * 1999 + "b", "a" * 20_000, False),
        ("*?a" * 600 + "b", "a" * 20_000, False),
        ("*" + "a?" * 900 + "*c", "a" * 20_000, False),
        ("(a+)+$", "a" * 5000, False),
        ("[a-z]*", "[a-z]x", True),
        ("a.c", "abc", False),
    ],
)
def test_patterns_meant_to_take_for_ever_do_not(pattern, text, is_met):
    assert matcher(glob_of(pattern))(text) is is_met


def test_names_are_found_however_their_letters_are_put_together():
    made = [{"folder": "Gro\u0308\u00dfe"}, {"folder": "Gr\u00f6\u00dfe"}, {"folder": "Grosse"}]
    columns = columns_from(made)
    for asked in ("Gr\u00f6\u00dfe", "Gro\u0308\u00dfe", "Gr?\u00dfe", "*\u00f6*"):
        assert mask_of(tree_of(f"folder = '{asked}'", columns), columns, 3).tolist() == [True, True, False]
