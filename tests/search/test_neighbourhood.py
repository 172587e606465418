import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udml.learning.mixing import COPY, mix, mix_all, without_copies
from udml.search.neighbourhood import (
    MAX_MIXED,
    NEIGHBOURS,
    choose_mixed,
    first_copies,
    nearest_distinct,
    neighbour_graph,
    reciprocity,
    refined_order,
    refined_score,
)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def graph_of(vectors):
    base = faiss.IndexFlatIP(vectors.shape[1])
    base.add(vectors)
    return without_copies(*neighbour_graph(base, vectors, len(vectors), None), vectors)


def shares_of(vectors):
    """Reciprocity of the graph of these vectors."""
    base = faiss.IndexFlatIP(vectors.shape[1])
    base.add(vectors)
    graph = neighbour_graph(base, vectors, len(vectors), None)
    return reciprocity(without_copies(*graph, vectors)[0], first_copies(*graph))


def things(of_each, count=60, dim=48, noise=0.06, seed=0):
    """`of_each` images of each of `count` things."""
    rng = np.random.default_rng(seed)
    middles = unit(rng.standard_normal((count, dim)))
    return unit(np.repeat(middles, of_each, axis=0) + noise * rng.standard_normal((count * of_each, dim)))


def slow_graph_row(vectors, row):
    """The same by definition: groups of copies counted once, one image after the other."""
    similarity = vectors @ vectors[row]
    found, seen = [], [vectors[row]]
    for other in np.argsort(-similarity, kind="stable"):
        if other != row and all(float(vectors[other] @ s) <= COPY for s in seen):
            found.append(int(other))
            seen.append(vectors[other])
    return found


@pytest.mark.parametrize("k", [0, 1, 4, 40])
@pytest.mark.parametrize("copies", [0, 5, 24])
def test_a_query_is_mixed_with_its_nearest_that_are_no_copies(copies, k):
    vectors = things(1, count=24, noise=0)
    vectors[:copies] = unit(vectors[[1] * copies] + 1e-3)
    query = vectors[0]
    vectors = vectors[np.argsort(-(vectors @ query), kind="stable")]
    similarity = vectors @ query
    by_definition: list[int] = []
    for place in range(len(vectors)):
        if all(float(vectors[place] @ other) <= COPY for other in (query, *vectors[by_definition])):
            by_definition.append(place)
    assert nearest_distinct(similarity, vectors, k).tolist() == by_definition[:k]


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_of_copies_the_graph_counts_one(copies):
    vectors = np.repeat(unit(np.random.default_rng(0).standard_normal((20, 24))), copies, axis=0)
    positions, similarity = graph_of(vectors)
    for row in range(len(vectors)):
        there = positions[row][positions[row] >= 0]
        expected = [other // copies for other in slow_graph_row(vectors, row)]
        assert [p // copies for p in there.tolist()] == expected[: len(there)]
        assert len(there) >= min(len(expected), (NEIGHBOURS + 1) // copies - 1)
        np.testing.assert_allclose(
            similarity[row][positions[row] >= 0], vectors[there] @ vectors[row], atol=1e-6
        )
        assert (similarity[row][positions[row] < 0] == 0).all()


def test_reciprocity_is_what_it_says():
    vectors = things(4, count=12)
    positions, _ = graph_of(vectors)
    shares = shares_of(vectors)
    for k in (1, 2, 3, 7):
        near = [set(row[:k].tolist()) for row in positions]
        mutual = [row in near[other] for row in range(len(near)) for other in near[row]]
        assert shares[k - 1] == pytest.approx(np.mean(mutual))


@pytest.mark.parametrize("of_each", [2, 3, 6])
def test_copies_do_not_change_what_reciprocity_says(of_each):
    vectors = things(of_each)
    rows = np.sort(np.concatenate([np.arange(len(vectors)), np.arange(0, len(vectors), 3)]))
    np.testing.assert_allclose(shares_of(vectors[rows])[:10], shares_of(vectors)[:10], atol=0.01)


@pytest.mark.parametrize(
    ("of_each", "lowest", "highest"), [(2, 1, 1), (3, 1, 2), (5, 2, 3), (8, 4, 4), (16, 4, 4)]
)
def test_the_dose_follows_the_number_of_images_of_a_thing(of_each, lowest, highest):
    vectors = things(of_each)
    mixed, reason = choose_mixed(shares_of(vectors), len(vectors))
    assert lowest <= mixed <= highest
    assert "highest at" in reason


def test_without_a_peak_the_dose_is_the_one_that_harmed_nowhere():
    vectors = unit(np.random.default_rng(0).standard_normal((400, 64)))
    mixed, reason = choose_mixed(shares_of(vectors), len(vectors))
    assert mixed == MAX_MIXED
    assert "no clear peak" in reason


@pytest.mark.parametrize("vectors", [np.eye(1, 8), np.eye(2, 8), np.repeat(np.eye(1, 8), 300, axis=0)])
def test_one_image_two_and_nothing_but_copies_are_left_as_they_are(vectors):
    vectors = vectors.astype(np.float32)
    positions, similarity = graph_of(vectors)
    assert choose_mixed(shares_of(vectors), len(vectors))[0] == 0
    mixed = np.empty_like(vectors)
    mix_all(vectors, positions, similarity, mixed)
    np.testing.assert_allclose(mixed, vectors, atol=1e-6)


def test_mixtures_are_the_formula():
    vectors = things(4, count=10)
    positions, similarity = graph_of(vectors)
    out = np.empty_like(vectors)
    mix_all(vectors, positions[:, :3], similarity[:, :3], out)
    for row in range(len(vectors)):
        weights = np.maximum(vectors[positions[row, :3]] @ vectors[row], 0) ** 2
        np.testing.assert_allclose(
            out[row], unit(vectors[row] + weights @ vectors[positions[row, :3]]), atol=1e-5
        )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.floats(-1, 1))
def test_refinement_orders_what_plain_search_found(seed, count, lowest):
    rng = np.random.default_rng(seed)
    mixed = unit(rng.standard_normal(6))
    vectors, query = unit(rng.standard_normal((count, 6))), unit(rng.standard_normal(6))
    vectors = vectors[np.argsort(-(vectors @ query))]
    similarity = vectors @ query
    order = refined_order(similarity, vectors @ mixed, lowest)
    assert sorted(order.tolist()) == list(range(count))
    assert order[0] == 0
    shown = similarity[order] >= lowest
    assert (shown == np.sort(shown)[::-1]).all()


def test_a_thing_s_own_images_rise_above_a_stranger_that_is_a_little_nearer():
    vectors = things(6, noise=0.12)
    positions, similarity = graph_of(vectors)
    mixed = np.empty_like(vectors)
    mix_all(vectors, positions[:, :3], similarity[:, :3], mixed)
    queries = things(6, noise=0.2, seed=0)
    plain = refined = 0
    for number, query in enumerate(queries):
        cosine = vectors @ query
        order = np.argsort(-cosine)[:100]
        score = refined_score(query, cosine[order], mixed[order], np.arange(3))
        again = order[refined_order(cosine[order], score, -1.0)]
        plain += (order[:6] // 6 == number // 6).sum()
        refined += (again[:6] // 6 == number // 6).sum()
    assert refined > plain


def test_mixing_with_nothing_changes_nothing():
    vectors = things(1, count=5)
    np.testing.assert_allclose(mix(vectors, np.zeros((5, 0)), np.zeros((5, 0, 48))), vectors, atol=1e-6)
