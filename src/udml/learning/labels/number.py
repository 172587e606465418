"""How many pseudo-classes: as many as two halves of the images agree on.

Too few, and different things share a pseudo-class; too many, and one thing is several. Both halves of the
images are clustered alone, then those of one half are put to the other half's clusters: are pairs that
these predict together in the half's own clusters too? Where clusters are things, they are. Prediction
strength, Tibshirani and Walther, "Cluster Validation by Prediction Strength" (JCGS 2005), turned round: a
half's own clusters bend to its nearest pairs, so of those too many would be together by any prediction. And
over all pairs in place of the worst cluster's, so that it compares numbers of hundreds.

The strength falls as clusters get smaller, whatever they hold. A finer number that is stronger all the same
is a sign that things are of that size; where none is, the coarsest stays. Chosen on classes of training
images (docs/labels.md has the table); no label is read here.

Shapes: n images, d vector length, k clusters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from udml.learning.labels.pseudo_labels import MAX_CLUSTERS, choose_clusters, cluster

MEAN_SIZES = (25, 16, 12, 10, 8, 6, 4)  # images of a cluster, coarsest first
AT_MOST_IMAGES = 4_000  # more are represented by those around one of them
DOUBTFUL_STRENGTH = 0.25  # below it training gained least (docs/labels.md)
_SPLITS = 4
_ITERATIONS = 20
_POINTS_PER_CLUSTER = 256
_CLEAR_ERRORS = 1.0  # standard errors by which a finer number must be stronger than the coarsest
_FALLS = 3  # numbers in a row below the strongest, before finer ones are not looked at


@dataclass(frozen=True)
class Found:
    """A number of clusters, and what speaks for it.

    Attributes:
        clusters: k.
        mean_size: images of a cluster that it comes from.
        strengths: prediction strength, 0..1, of every mean cluster size that was tried.
        images: how many images it was found on.
    """

    clusters: int
    mean_size: int
    strengths: dict[int, float]
    images: int


def find_clusters(vectors: np.ndarray, at_least: int, seed: int) -> Found:
    """How many clusters to make of `vectors`.

    Args:
        vectors: float32 [n, d], unit rows.
        at_least: clusters, which a batch needs.
        seed: of the halves, of k-means, and of the image whose surroundings stand for all where there are
            more than `AT_MOST_IMAGES`. Classes stay whole in them, which in a random sample they would not.
    """
    some = vectors if len(vectors) <= AT_MOST_IMAGES else _surroundings(vectors, AT_MOST_IMAGES, seed)
    coarsest = choose_clusters(len(vectors), at_least)
    tried: dict[int, np.ndarray] = {}
    falls = 0
    for size in MEAN_SIZES:
        k = len(some) // size
        if k < 2 or (len(vectors) // size < coarsest and tried):
            continue
        tried[size] = _strengths(some, k, seed)
        strongest = max(tried, key=lambda one: tried[one].mean())
        falls = 0 if strongest == size else falls + 1
        if falls == _FALLS:
            break
    means = {size: float(values.mean()) for size, values in tried.items()}
    if not tried:
        return Found(coarsest, MEAN_SIZES[0], means, len(some))
    first, best = next(iter(tried)), max(means, key=lambda size: means[size])
    gain = tried[best] - tried[first]
    clear = gain.mean() > _CLEAR_ERRORS * gain.std(ddof=1) / np.sqrt(len(gain))
    if not clear:
        return Found(coarsest, first, means, len(some))
    return Found(min(MAX_CLUSTERS, max(at_least, len(vectors) // best)), best, means, len(some))


def _surroundings(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The `count` vectors nearest to one of them."""
    centre = vectors[np.random.default_rng([seed, 2]).integers(len(vectors))]
    return vectors[np.sort(np.argpartition(-(vectors @ centre), count)[:count])]


def _strengths(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Prediction strength of k clusters, float [2 x _SPLITS]: each half judged by the other."""
    found = []
    for split in range(_SPLITS):
        order = np.random.default_rng([seed, 3, split]).permutation(len(vectors))
        halves = [np.ascontiguousarray(vectors[part]) for part in np.array_split(order, 2)]
        clustered = [cluster(half, k, _ITERATIONS, _POINTS_PER_CLUSTER, seed + split) for half in halves]
        for own, other in ((0, 1), (1, 0)):
            foreign = (halves[own] @ clustered[other].centroids.T).argmax(axis=1)
            found.append(also_together(foreign, clustered[own].assignment))
    return np.array(found)


def also_together(predicted: np.ndarray, own: np.ndarray) -> float:
    """Share of the pairs together by `predicted`, int [n], that are so by `own`, int [n]; 0 where none is."""
    _, sizes = np.unique(predicted, return_counts=True)
    _, shared = np.unique(np.stack([own, predicted]), axis=1, return_counts=True)
    pairs = float((sizes * (sizes - 1.0)).sum())
    return float((shared * (shared - 1.0)).sum()) / pairs if pairs else 0.0


def found_clearly(first: Mapping[str, Any]) -> bool:
    """Whether two halves of the images agree better on smaller clusters than on those of the usual size.

    The clusters are things then, and another one holds other things. False where the number was given, and
    where the agreement is doubtful all the same.

    Args:
        first: the first round's record.
    """
    sizes = [int(size) for size in first.get("strengths_by_cluster_size", {})]
    return bool(sizes) and first["found_cluster_size"] < max(sizes) and doubtful_strength(first) is None


def doubtful_strength(first: Mapping[str, Any]) -> float | None:
    """The share of pairs in a cluster on which two halves of the images agree, where that is too little.

    None where it is enough, and where the number of clusters was given, so that nobody looked.
    """
    strengths = first.get("strengths_by_cluster_size", {})
    strength: float | None = strengths.get(str(first.get("found_cluster_size")))
    return None if strength is None or strength >= DOUBTFUL_STRENGTH else strength
