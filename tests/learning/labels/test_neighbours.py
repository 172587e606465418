import numpy as np
import pytest

from tests.fixtures.vectors import unit
from udml.learning.labels import neighbours
from udml.learning.labels.neighbours import nearest_neighbours


def things(classes: int, each: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.repeat(unit(rng.normal(size=(classes, 24))), each, axis=0)
    return unit(centres + 0.1 * rng.normal(size=centres.shape))


def by_hand(vectors: np.ndarray, k: int) -> np.ndarray:
    similarity = vectors.astype(np.float64) @ vectors.T
    np.fill_diagonal(similarity, 9)
    return np.argsort(-similarity, axis=1, kind="stable")[:, : k + 1]


@pytest.mark.parametrize("cell", [8_000, 70])
def test_where_all_are_looked_at_the_nearest_are_found(cell: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "EXACT_BELOW", cell)
    monkeypatch.setattr(neighbours, "_CELL", cell)
    monkeypatch.setattr(neighbours, "_ROWS_AT_ONCE", 64)
    vectors = things(20, 15)
    assert np.array_equal(nearest_neighbours(vectors, 6, 0), by_hand(vectors, 6))  # 8 cells, all looked at


def test_in_cells_most_of_the_nearest_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "EXACT_BELOW", 100)
    monkeypatch.setattr(neighbours, "_CELL", 64)
    monkeypatch.setattr(neighbours, "_CELLS_LOOKED_AT", 12)
    vectors = things(200, 12)
    found, truth = nearest_neighbours(vectors, 8, 0), by_hand(vectors, 8)
    hits = np.mean([len(set(a) & set(b)) for a, b in zip(found, truth, strict=True)]) / 9
    assert 0.9 < hits < 1.0  # 12 of 64 cells: what is not looked at is not found


@pytest.mark.parametrize("cell", [8_000, 64])
def test_a_heap_of_equals_is_cut_into_cells_of_one_size(cell: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "EXACT_BELOW", cell)
    monkeypatch.setattr(neighbours, "_CELL", 64)
    same = np.repeat(np.eye(1, 24, dtype=np.float32), 700, axis=0)
    cells = neighbours._halved(same, 0)
    assert max(map(len, cells)) <= 64
    assert np.array_equal(np.sort(np.concatenate(cells)), np.arange(700))
    found = nearest_neighbours(same, 5, 0)
    assert np.array_equal(found[:, 0], np.arange(700))
    assert all(len(set(row)) == 6 for row in found.tolist())


def test_the_same_seed_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "EXACT_BELOW", 100)
    monkeypatch.setattr(neighbours, "_CELL", 64)
    vectors = things(60, 10)
    assert np.array_equal(nearest_neighbours(vectors, 4, 3), nearest_neighbours(vectors, 4, 3))
