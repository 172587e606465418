import numpy as np
import pytest

from tests.fixtures.vectors import unit
from udml.evaluation.metrics import Embedded, score_queries
from udml.evaluation.neighbourhoods import know_neighbourhoods, refine_with
from udml.learning.mixing import COPY, distinct
from udml.search.neighbourhood import DEPTH, NEIGHBOURS, refined_order


def things(of_each, count=30, dim=24, noise=0.25, seed=0):
    """`of_each` images of each of `count` things."""
    rng = np.random.default_rng(seed)
    middles = np.repeat(unit(rng.standard_normal((count, dim))), of_each, axis=0)
    return unit(middles + noise * rng.standard_normal(middles.shape))


def rebuilt_ranking(vectors, query, missing, count):
    """The slow way: a gallery built without the missing images, searched as the service does it."""
    staying = np.setdiff1d(np.arange(len(vectors)), missing)
    known = know_neighbourhoods(vectors[staying])
    assert known.count == count, "the reference must mix as many"
    similarity = vectors[staying] @ query
    order = np.argsort(-similarity, kind="stable")
    top = order[:DEPTH]
    near = top[:NEIGHBOURS]
    near = near[distinct((similarity[near] <= COPY)[None], vectors[staying][near][None])[0]][:count]
    mixtures = known.rounds[-1].astype(np.float32)
    expanded = unit(query + similarity[near] ** 2 @ mixtures[near])
    score = mixtures[top] @ expanded + 0.5 * similarity[top]
    again = top[refined_order(similarity[top], score, -np.inf)]
    return staying[np.concatenate([again, order[DEPTH:]])]


@pytest.mark.parametrize(
    ("of_each", "copies"), [(4, 0), (9, 0), (9, 40), (3, 0)], ids=["4", "9", "copies", "3"]
)
def test_a_query_in_the_gallery_is_asked_as_if_it_had_never_been_there(of_each, copies):
    vectors = things(of_each)
    vectors[:copies:4] = unit(vectors[1 : copies + 1 : 4] + 1e-3)  # near copies of the images beside them
    known = know_neighbourhoods(vectors)
    refine = refine_with(known)
    rng = np.random.default_rng(1)
    queries = rng.choice(len(vectors), 25, replace=False)
    absent = [
        np.unique([query, *rng.choice(len(vectors), rng.integers(0, 3), replace=False)]) for query in queries
    ]
    found = refine(vectors[queries], vectors[queries] @ vectors.T, absent)
    for query, missing, ranked in zip(queries, absent, found, strict=True):
        order = np.argsort(-ranked, kind="stable")
        order = order[~np.isin(order, missing)]
        expected = rebuilt_ranking(vectors, vectors[query], missing, known.count)
        # images whose scores differ by less than float16 can tell may change places
        np.testing.assert_allclose(ranked[order], ranked[expected], atol=2e-3)
        assert (order[:20] == expected[:20]).mean() > 0.8


def test_figures_are_those_of_galleries_built_without_the_query():
    vectors = things(6, count=12, dim=48, noise=0.2, seed=3)
    rows = np.arange(len(vectors))
    labels = rows // 6
    known = know_neighbourhoods(vectors)
    found = score_queries(
        *[Embedded(vectors, labels, rows)] * 2, rows, [1], True, 2**20, refine_with(known)
    ).values["map_at_r"]
    for row in rows:
        hits = labels[rebuilt_ranking(vectors, vectors[row], [row], known.count)[:5]] == labels[row]
        expected = (np.cumsum(hits) / np.arange(1, 6) * hits).sum() / 5
        assert found[row] == pytest.approx(expected, abs=1e-9)


def test_ties_count_against_search_by_neighbourhoods_too():
    vectors = np.repeat(unit(np.eye(2, 8)), 40, axis=0)
    labels = np.tile([0, 1], 40)
    every = Embedded(vectors, labels, np.arange(80))
    refine = refine_with(know_neighbourhoods(vectors))
    found = score_queries(every, every, np.arange(80), [1], True, 2**20, refine)
    assert found.values["recall_at_1"].max() == 0


@pytest.mark.parametrize("count", [2, 3, 19])
def test_a_gallery_too_small_to_know_its_neighbourhoods_is_searched_plainly(count):
    vectors = things(1, count=count)
    known = know_neighbourhoods(vectors)
    assert known.count == 0
    similarity = vectors @ vectors[0]
    ranked = refine_with(known)(vectors[:1], similarity[None], [np.array([0])])[0]
    assert (np.argsort(-ranked[1:]) == np.argsort(-similarity[1:])).all()
