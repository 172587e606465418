"""Columns of values beside an index: taken apart, joined, written and read they stay what they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udml.errors import UdmlError
from udml.files import read_json, write_json
from udml.search.columns import (
    COLUMNS_FILE,
    Column,
    Columns,
    Kind,
    Value,
    column_files,
    column_of,
    columns_of,
    joined,
    read_columns,
    take,
    value_at,
    write_columns,
)

KINDS: dict[str, Kind] = {"folder": "text", "price, €": "number", "taken": "time", "label": "text"}
_values: dict[Kind, st.SearchStrategy[Value]] = {
    "text": st.none()
    | st.text(max_size=4).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)),
    "number": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "time": st.none() | st.integers(-(2**62), 2**62),
}
rows = st.lists(st.fixed_dictionaries({name: _values[kind] for name, kind in KINDS.items()}), max_size=12)


def values_of(columns: Columns, count: int) -> list[dict[str, Value]]:
    """The slow way back."""
    return [{name: value_at(column, row) for name, column in columns.items()} for row in range(count)]


def assert_same(left: Columns, right: Columns) -> None:
    assert list(left) == list(right)
    for name in left:
        assert (left[name].kind, left[name].texts) == (right[name].kind, right[name].texts)
        np.testing.assert_array_equal(left[name].values, right[name].values)


@settings(max_examples=60, deadline=None)
@given(rows, rows, st.randoms())
def test_what_goes_in_comes_out(first: list[Any], second: list[Any], random: Any) -> None:
    both = joined([(columns_of(first, KINDS), len(first)), (columns_of(second, KINDS), len(second))])
    assert_same(both, columns_of(first + second, KINDS))
    assert values_of(both, len(first + second)) == first + second
    chosen = random.choices(range(len(both["taken"])), k=5) if first + second else []
    taken = take(both, np.array(chosen, np.int64))
    assert_same(taken, columns_of([(first + second)[row] for row in chosen], KINDS))


@settings(max_examples=20, deadline=None)
@given(rows)
def test_written_and_read(tmp_path_factory: pytest.TempPathFactory, images: list[Any]) -> None:
    directory = tmp_path_factory.mktemp("index")
    columns = columns_of(images, KINDS)
    write_columns(directory, columns)
    assert_same(read_columns(directory, len(images)), columns)
    before = [path.read_bytes() for path in column_files(directory)]
    write_columns(directory, joined([(columns, len(images))]))
    assert [path.read_bytes() for path in column_files(directory)] == before
    assert len(before) == 1 + len(KINDS)


def test_a_part_that_lacks_a_column_has_no_value_of_it() -> None:
    both = joined([({"price": column_of("number", [1.5])}, 1), ({"label": column_of("text", ["a"])}, 1)])
    assert values_of(both, 2) == [{"price": 1.5, "label": None}, {"price": None, "label": "a"}]
    with pytest.raises(ValueError, match="price is number and text"):
        joined([({"price": column_of("number", [1.5])}, 1), ({"price": column_of("text", ["a"])}, 1)])


def test_an_index_without_columns_has_none(tmp_path: Path) -> None:
    write_columns(tmp_path, {})
    assert column_files(tmp_path) == []
    assert read_columns(tmp_path, 7) == {}


def test_what_is_no_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no column of kind text"):
        Column("text", np.zeros(3))
    with pytest.raises(ValueError, match="columns of"):
        write_columns(tmp_path, {"a": column_of("text", ["a"]), "b": column_of("text", [])})


@pytest.mark.parametrize(
    "damage",
    [
        lambda said: said.update(rows=4),
        lambda said: said.pop("columns"),
        lambda said: said["columns"][0].update(kind="number"),
        lambda said: said["columns"][0].update(texts=["a"]),
        lambda said: said["columns"][0].update(file="../column-000.npy"),
        lambda said: said["columns"][0].update(file="column-009.npy"),
        lambda said: said["columns"][1].update(name="label"),
    ],
)
def test_damage_is_told(tmp_path: Path, damage: Any) -> None:
    write_columns(
        tmp_path, {"label": column_of("text", ["a", "b", None]), "n": column_of("number", [1, 2, 3])}
    )
    said = read_json(tmp_path / COLUMNS_FILE)
    damage(said)
    write_json(tmp_path / COLUMNS_FILE, said)
    with pytest.raises(UdmlError, match="damaged"):
        read_columns(tmp_path, 3)


def test_files_that_were_cut_are_told(tmp_path: Path) -> None:
    write_columns(tmp_path, {"label": column_of("text", ["a", "b", None])})
    for content in (b"", (tmp_path / "column-000.npy").read_bytes()[:-1]):
        (tmp_path / "column-000.npy").write_bytes(content)
        with pytest.raises(UdmlError, match="damaged"):
            read_columns(tmp_path, 3)
