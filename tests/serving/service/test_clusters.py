import numpy as np

from tests.fixtures.vectors import unit
from udml.search.mapping import groups as clusters


def blobs(sizes, dim=8):
    rng = np.random.default_rng(0)
    centres = np.eye(dim)[: len(sizes)]
    rows = np.concatenate([centres[i] + rng.normal(0, 0.05, (n, dim)) for i, n in enumerate(sizes)])
    return unit(rows)


def test_images_that_look_alike_are_together_largest_group_first():
    vectors = blobs([9, 30, 20])
    ids = np.arange(100, 159)
    groups = clusters.group(ids, vectors)
    assert sorted(np.concatenate(groups).tolist()) == ids.tolist()
    assert [len(g) for g in groups] == sorted((len(g) for g in groups), reverse=True)
    blob = np.repeat([0, 1, 2], [9, 30, 20])
    assert all(len(set(blob[g - 100])) == 1 for g in groups)
    again = clusters.group(ids, vectors)
    assert all((a == b).all() for a, b in zip(groups, again, strict=True))


def test_the_most_typical_image_comes_first():
    vectors = blobs([40])
    centre = vectors.mean(0)
    (group,) = (g for g in clusters.group(np.arange(2), vectors[:2]))
    assert len(group) == 2
    first = clusters.group(np.arange(40), vectors)[0][0]
    assert (vectors @ centre)[first] > np.median(vectors @ centre)


def test_few_images_and_none():
    assert clusters.group(np.empty(0, np.int64), np.empty((0, 8), np.float32)) == []
    assert [g.tolist() for g in clusters.group(np.array([5]), blobs([1]))] == [[5]]
    same = np.repeat(blobs([1]), 20, axis=0)
    assert sorted(np.concatenate(clusters.group(np.arange(20), same)).tolist()) == list(range(20))
