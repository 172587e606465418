import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.vectors import unit
from udml.errors import UdmlError
from udml.evaluation.metrics import TIE, Embedded, match_ranks, require_sound, score_queries

RECALL_AT = (1, 2, 4, 8)
BUDGET = 2**20


def leave_one_out(embeddings, labels, groups=None, mask_groups=True, budget=BUDGET):
    labels = np.asarray(labels)
    images = Embedded(embeddings, labels, np.arange(len(labels)) if groups is None else np.asarray(groups))
    return score_queries(images, images, np.arange(len(labels)), RECALL_AT, mask_groups, budget)


def reference(queries, gallery, own_row, recall_at, mask_groups):
    """Straight from the definitions: a sorted list per query, misses first among equals."""
    found = {}
    for q in range(len(queries.labels)):
        ranking = []
        for g in range(len(gallery.labels)):
            if g == own_row[q] or (mask_groups and gallery.groups[g] == queries.groups[q]):
                continue
            similarity = float(
                np.dot(queries.embeddings[q].astype(float), gallery.embeddings[g].astype(float))
            )
            match = gallery.labels[g] == queries.labels[q]
            ranking.append((-similarity + (TIE if match else 0.0), match))
        hits = [match for _, match in sorted(ranking)]
        relevant = sum(hits)
        if relevant == 0:
            continue
        precisions = [sum(hits[:i]) / i for i in range(1, relevant + 1)]
        average = sum(p for p, hit in zip(precisions, hits, strict=False) if hit) / relevant
        recalls = [float(any(hits[:k])) for k in recall_at]
        found[q] = [*recalls, average, sum(hits[:relevant]) / relevant]
    return found


def assert_same(scores, expected, recall_at=RECALL_AT):
    assert scores.query.tolist() == list(expected)
    names = [*(f"recall_at_{k}" for k in recall_at), "map_at_r", "r_precision"]
    assert list(scores.values) == names
    got = np.array([scores.values[name] for name in names]).T
    np.testing.assert_allclose(got, np.array(list(expected.values())).reshape(got.shape), atol=1e-12)


@st.composite
def searches(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m = draw(st.integers(1, 20)), draw(st.integers(2, 25))
    classes, groups = draw(st.integers(1, 6)), draw(st.integers(1, 30))
    # few distinct directions: many exact ties
    points = unit(rng.standard_normal((draw(st.integers(2, 12)), 16)))

    def some(count):
        picked = rng.integers(0, len(points), count)
        picked[: min(count, 2)] = np.arange(min(count, 2))  # never collapsed
        return Embedded(points[picked], rng.integers(0, classes, count), rng.integers(0, groups, count))

    queries, gallery = some(n), some(m)
    own_row = np.where(rng.random(n) < 0.5, rng.integers(0, m, n), -1)
    return queries, gallery, own_row


@settings(max_examples=150, deadline=None)
@given(searches(), st.booleans(), st.integers(1, 4000))
def test_agrees_with_the_definitions_whatever_the_budget(search, mask_groups, budget):
    queries, gallery, own_row = search
    if len(queries.labels) == 2 and len(gallery.labels) < 2:
        return
    scores = score_queries(queries, gallery, own_row, RECALL_AT, mask_groups, budget)
    expected = reference(queries, gallery, own_row, RECALL_AT, mask_groups)
    assert_same(scores, expected)
    assert scores.without_match == len(queries.labels) - len(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_figures_are_ordered_and_do_not_depend_on_the_order_of_the_gallery(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 40)
    images = Embedded(unit(rng.standard_normal((40, 8))), labels, rng.integers(0, 35, 40))
    scores = score_queries(images, images, np.arange(40), RECALL_AT, True, BUDGET)
    order = rng.permutation(40)
    mixed = Embedded(images.embeddings[order], labels[order], images.groups[order])
    again = score_queries(images, mixed, np.argsort(order), RECALL_AT, True, BUDGET)
    for name, values in scores.values.items():
        assert ((values >= 0) & (values <= 1)).all()
        np.testing.assert_array_equal(values, again.values[name])
    recalls = np.array([scores.values[f"recall_at_{k}"] for k in RECALL_AT])
    assert (np.diff(recalls, axis=0) >= 0).all()
    assert (scores.values["map_at_r"] <= scores.values["r_precision"] + 1e-12).all()


def test_the_worked_example_of_the_paper():
    """R = 3, hits at ranks 1 and 3: R-precision 2/3, MAP@R (1 + 0 + 2/3) / 3."""
    angles = np.radians([0, 1, 2, 3, 10])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.array([0, 0, 1, 0, 0])
    scores = leave_one_out(embeddings, labels)
    first = scores.query.tolist().index(0)
    assert scores.values["r_precision"][first] == pytest.approx(2 / 3)
    assert scores.values["map_at_r"][first] == pytest.approx((1 + 2 / 3) / 3)


# In a process of its own: the import replaces methods of FAISS's classes for everything that runs after it.
PEER = """
import json, sys
import numpy as np
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

rows = np.load(sys.argv[1])
names = ("precision_at_1", "mean_average_precision_at_r", "r_precision")
calculator = AccuracyCalculator(include=names, k="max_bin_count", device=torch.device("cpu"))
found = calculator.get_accuracy(torch.from_numpy(rows["embeddings"]), torch.from_numpy(rows["labels"]))
print(json.dumps([float(found[name]) for name in names]))
"""


def test_agrees_with_pytorch_metric_learning(tmp_path: Path):
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(12), 15)
    embeddings = unit(rng.standard_normal((12, 24))[labels] + rng.standard_normal((180, 24)))
    np.savez(tmp_path / "rows.npz", embeddings=embeddings, labels=labels)
    command = [sys.executable, "-c", PEER, tmp_path / "rows.npz"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ours = leave_one_out(embeddings, labels).values
    for name, theirs in zip(("recall_at_1", "map_at_r", "r_precision"), json.loads(said), strict=True):
        assert ours[name].mean() == pytest.approx(theirs, abs=1e-6)


def test_copies_in_another_class_win_every_tie():
    """Each vector twice, once per class: the copy is a miss and comes first."""
    rng = np.random.default_rng(1)
    for dim in (3, 64, 512, 1280):
        base = unit(rng.standard_normal((300, dim)))
        labels = np.repeat([0, 1], 300)
        scores = leave_one_out(np.concatenate([base, base]), labels)
        assert scores.values["recall_at_1"].mean() == 0.0


def test_ties_hold_where_a_matrix_product_rounds_identical_rows_differently():
    """One direction repeated at every position of the blocks, with another at the end."""
    rng = np.random.default_rng(2)
    direction, other = unit(rng.standard_normal((2, 512)))
    embeddings = np.concatenate([np.tile(direction, (701, 1)), other[None]])
    labels = np.arange(702) % 2
    assert leave_one_out(embeddings, labels).values["recall_at_8"][:701].max() == 0.0


def test_duplicates_are_ignored_or_counted():
    angles = np.radians([0, 1, 2, 40, 50])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels, groups = [0, 0, 1, 0, 1], [7, 7, 8, 9, 10]
    masked = leave_one_out(embeddings, labels, groups)
    counted = leave_one_out(embeddings, labels, groups, mask_groups=False)
    assert masked.values["recall_at_1"][0] == 0.0
    assert masked.values["recall_at_2"][0] == 1.0
    assert masked.values["map_at_r"][0] == 0.0  # R is 1 once the copy is gone, and rank 1 is a miss
    assert counted.values["recall_at_1"][0] == 1.0


def test_queries_with_nothing_to_find_are_left_out_and_counted():
    embeddings = unit(np.random.default_rng(0).standard_normal((6, 4)))
    alone = leave_one_out(embeddings, [0, 0, 1, 2, 3, 3], groups=[0, 1, 2, 3, 4, 4])
    assert alone.query.tolist() == [0, 1]
    assert alone.without_match == 4
    nobody = leave_one_out(embeddings, np.arange(6))
    assert nobody.without_match == 6
    assert all(len(values) == 0 for values in nobody.values.values())


def test_match_ranks_by_hand():
    similarity = np.array([0.9, 0.8, 0.8, 0.7, 0.95, 1.0], np.float32)
    ranks = match_ranks(similarity.copy(), np.array([1, 3, 5]), np.array([5]), 4)
    assert ranks.tolist() == [4, 5]  # before it: 0.9, 0.95 and the tie at 0.8
    assert match_ranks(similarity.copy(), np.array([5]), np.array([5]), 4).size == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(value):
    embeddings = unit(np.random.default_rng(0).standard_normal((5, 4)))
    embeddings[3, 1] = value
    with pytest.raises(UdmlError, match="row 3 is not finite"):
        leave_one_out(embeddings, [0, 0, 1, 1, 0])


def test_vectors_of_another_length_are_refused():
    embeddings = unit(np.random.default_rng(0).standard_normal((5, 4)))
    embeddings[2] = 0
    with pytest.raises(UdmlError, match="row 2 is 0, expected 1"):
        leave_one_out(embeddings, [0, 0, 1, 1, 0])


@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_collapsed_embeddings_are_refused(noise):
    rng = np.random.default_rng(0)
    embeddings = unit(rng.standard_normal(32) + noise * rng.standard_normal((50, 32)))
    with pytest.raises(UdmlError, match="collapsed"):
        leave_one_out(embeddings, np.arange(50) % 5)


def test_one_row_is_not_a_collapse_and_none_is_an_error():
    require_sound(np.array([[1.0, 0.0]], np.float32), "one")
    with pytest.raises(UdmlError, match="shape"):
        require_sound(np.empty((0, 4), np.float32), "none")
