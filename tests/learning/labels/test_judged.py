from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests.fixtures.vectors import unit
from tests.learning.tiny import tiny_data, tiny_fit, tiny_params
from udml.learning.labels.judged import Links, apply_judgements, links_of, with_judgements
from udml.learning.labels.pseudo_labels import cluster
from udml.learning.loop.checkpoint import CHECKPOINT_FILE

NONE = np.empty((0, 2), np.int64)


def pairs(*given: tuple[int, int]) -> np.ndarray:
    return np.array(given, np.int64).reshape(-1, 2)


def on_a_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def test_what_must_be_together_goes_where_it_fits_best() -> None:
    vectors = on_a_circle(0, 5, 10, 90, 95, 40)
    assignment = np.array([0, 0, 0, 1, 1, 1])
    assert apply_judgements(assignment, vectors, pairs((1, 5)), NONE).tolist() == [0, 0, 0, 1, 1, 0]
    chained = apply_judgements(assignment, vectors, pairs((3, 5), (5, 2), (4, 3)), NONE)
    assert len(set(chained[[2, 3, 4, 5]].tolist())) == 1
    assert assignment.tolist() == [0, 0, 0, 1, 1, 1]  # the caller's is as it was


def test_of_what_cannot_be_together_the_worse_fit_leaves() -> None:
    vectors = on_a_circle(0, 5, 40, 90, 95, 180)
    assignment = np.array([0, 0, 0, 1, 1, 2])
    assert apply_judgements(assignment, vectors, NONE, pairs((0, 2))).tolist() == [0, 0, 1, 1, 1, 2]
    # the nearest cluster holds another that it cannot be with
    barred = apply_judgements(assignment, vectors, NONE, pairs((0, 2), (2, 3)))
    assert barred.tolist() == [0, 0, 2, 1, 1, 2]


def test_must_takes_along_and_wins_over_cannot() -> None:
    vectors = on_a_circle(0, 5, 60, 65, 90, 95, 2, 3)
    assignment = np.array([0, 0, 0, 0, 1, 1, 0, 0])
    moved = apply_judgements(assignment, vectors, pairs((2, 3)), pairs((0, 2)))
    assert moved.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    both = apply_judgements(assignment, vectors, pairs((0, 2)), pairs((2, 0)))
    assert both.tolist() == assignment.tolist()


def test_with_one_cluster_there_is_nowhere_to_go() -> None:
    vectors = on_a_circle(0, 90)
    assert apply_judgements(np.array([0, 0]), vectors, NONE, pairs((0, 1))).tolist() == [0, 0]


def test_an_image_in_no_cluster_joins_what_it_must_be_with_and_bars_nobody() -> None:
    vectors = on_a_circle(0, 5, 90, 95)
    assignment = np.array([0, -1, 1, -1])
    assert apply_judgements(assignment, vectors, pairs((0, 1)), pairs((2, 3))).tolist() == [0, 0, 1, -1]
    assert apply_judgements(np.array([-1, -1]), vectors[:2], pairs((0, 1)), NONE).tolist() == [-1, -1]


@given(st.integers(0, 2**31 - 1), st.integers(0, 12), st.integers(0, 12))
def test_links_that_do_not_contradict_each_other_are_all_kept(seed: int, musts: int, cannots: int) -> None:
    """Links drawn from true classes, with more clusters than anything can be barred from."""
    rng = np.random.default_rng(seed)
    n, clusters = 60, 30
    vectors, truth = unit(rng.standard_normal((n, 8))), rng.integers(0, 6, n)
    drawn = rng.integers(0, n, (400, 2))
    drawn = drawn[drawn[:, 0] != drawn[:, 1]]
    same = truth[drawn[:, 0]] == truth[drawn[:, 1]]
    must, cannot = drawn[same][:musts], drawn[~same][:cannots]
    before = rng.integers(0, clusters, n)
    after = apply_judgements(before, vectors, must, cannot)
    assert (after[must[:, 0]] == after[must[:, 1]]).all()
    assert (after[cannot[:, 0]] != after[cannot[:, 1]]).all()
    free = np.setdiff1d(np.arange(n), np.concatenate([must, cannot]))
    assert (after[free] == before[free]).all()


def test_training_keeps_to_the_links_in_every_round(tmp_path: Path) -> None:
    """Of images of one kind, which would lie in one cluster, and of two kinds, which would not."""
    links = Links(pairs((0, 1), (1, 2)), pairs((0, 6), (6, 12)))
    seen = []

    def look(record: object) -> None:
        seen.append(load_file(tmp_path / CHECKPOINT_FILE)["clustering/assignment"].numpy())

    tiny_fit(tmp_path, tiny_params(steps=2), replace(tiny_data(), links=links), on_round=look)
    assert len(seen) == 2
    for assignment in seen:
        assert len(set(assignment[[0, 1, 2]].tolist())) == 1
        assert assignment[6] not in assignment[[0, 12]]


def test_links_are_of_files_that_are_trained_on() -> None:
    said = [("a", "b", True), ("b", "c", False), ("a", "x", True), ("y", "x", False)]
    links = links_of(said, ["c", "a", "b", "a"])
    assert links.must.tolist() == [[1, 2]]
    assert links.cannot.tolist() == [[2, 0]]
    assert links_of([], ["a"]).must.shape == (0, 2)


def test_a_clustering_follows_and_tells_how_well_the_moved_fit() -> None:
    vectors = unit(np.random.default_rng(0).standard_normal((80, 6)).astype(np.float32))
    before = cluster(vectors, 8, 10, 256, 0)
    apart = np.flatnonzero(before.assignment != before.assignment[0])[:3]
    after = with_judgements(before, vectors, Links(np.array([[0, at] for at in apart]), NONE))
    assert len(set(after.assignment[[0, *apart]].tolist())) == 1
    own = (vectors * after.centroids[after.assignment]).sum(axis=1)
    assert np.allclose(after.similarity, own, atol=1e-5)
    assert with_judgements(before, vectors, Links()).assignment.tolist() == before.assignment.tolist()
