"""Pseudo-labels that respect what people said of pairs of training images: must-link and cannot-link.

After every clustering, in the way of COP-k-means (Wagstaff et al., ICML 2001), but once at its end: what must
be together is brought together, then what must not is taken apart.

Shapes: n images, d vector length, k clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from udml.learning.labels.exchange import cluster_sums
from udml.learning.labels.pseudo_labels import Clustering
from udml.learning.mixing import unit_rows


def _no_pairs() -> np.ndarray:
    return np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Links:
    """Pairs of positions among the training images, int64 [m, 2] each."""

    must: np.ndarray = field(default_factory=_no_pairs)
    cannot: np.ndarray = field(default_factory=_no_pairs)


def apply_judgements(
    assignment: np.ndarray, embeddings: np.ndarray, must: np.ndarray, cannot: np.ndarray
) -> np.ndarray:
    """An assignment that has "must" pairs in one cluster and "cannot" pairs in two.

    Images linked by "must" pairs, also through others, all go to that of their clusters which is nearest to
    their mean. Of a "cannot" pair in one cluster, the side that fits less goes, with all that it must be
    with, to the nearest cluster without anything that it cannot be with. A "cannot" pair that "must" pairs
    contradict is ignored, and so is one for which no cluster is left.

    Args:
        assignment: int64 [n], clusters 0..k-1; -1 for an image in none.
        embeddings: float32 [n, d], unit rows.
        must: int64 [m, 2], positions.
        cannot: int64 [m, 2], positions.

    Returns:
        int64 [n], a new array.
    """
    result = assignment.astype(np.int64, copy=True)
    if len(must) + len(cannot) == 0 or result.max(initial=-1) < 0:
        return result
    centroids = _centroids(result, embeddings)
    units = _linked(must, np.unique(np.concatenate([must, cannot])))
    means = {unit: embeddings[members].mean(axis=0) for unit, members in units.items()}
    unit_of = {int(image): unit for unit, members in units.items() for image in members}
    for unit, members in units.items():
        own = np.unique(result[members])
        own = own[own >= 0]
        if len(members) > 1 and len(own):
            result[members] = own[np.argmax(centroids[own] @ means[unit])]
    apart = [(unit_of[int(a)], unit_of[int(b)]) for a, b in cannot]
    apart = [(a, b) for a, b in apart if a != b]
    for pair in apart:
        there = [int(result[units[unit][0]]) for unit in pair]
        if there[0] == there[1] >= 0:
            fits = [float(centroids[there[0]] @ means[unit]) for unit in pair]
            leaving = pair[int(np.argmin(fits))]
            others = [b if a == leaving else a for a, b in apart if leaving in (a, b)]
            taken = {int(result[units[other][0]]) for other in others}
            free = [
                int(c) for c in np.argsort(-(centroids @ means[leaving]), kind="stable") if c not in taken
            ]
            if free:
                result[units[leaving]] = free[0]
    return result


def with_judgements(clustering: Clustering, vectors: np.ndarray, links: Links) -> Clustering:
    """A clustering of float32 [n, d] unit rows that respects the links; its centroids stay as they are."""
    assignment = apply_judgements(clustering.assignment, vectors, links.must, links.cannot)
    moved = np.flatnonzero((assignment != clustering.assignment) & (assignment >= 0))
    similarity = clustering.similarity.copy()
    similarity[moved] = (vectors[moved] * clustering.centroids[assignment[moved]]).sum(axis=1)
    return replace(clustering, assignment=assignment, similarity=np.clip(similarity, -1, 1))


def links_of(said: Sequence[tuple[str, str, bool]], shas: Sequence[str]) -> Links:
    """What was said of pairs of files of which both are among these; of equal files the first stands for all.

    Args:
        said: sha256 of both files, and whether they show the same.
        shas: of the n training images.
    """
    place: dict[str, int] = {}
    for position, sha256 in enumerate(shas):
        place.setdefault(sha256, position)
    pairs: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for first, second, same in said:
        if first in place and second in place:
            pairs[same].append((place[first], place[second]))
    must, cannot = (np.array(pairs[same], np.int64).reshape(-1, 2) for same in (True, False))
    return Links(must, cannot)


def _centroids(assignment: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    """Unit means, float32 [k, d]; 0 for an empty cluster."""
    inside = assignment >= 0
    sums, _ = cluster_sums(embeddings[inside], assignment[inside], int(assignment.max()) + 1)
    return unit_rows(sums)


def _linked(must: np.ndarray, images: np.ndarray) -> dict[int, np.ndarray]:
    """The images that hang together by "must" pairs, each group under its first image; int64 each."""
    first = {int(image): int(image) for image in images}

    def root(image: int) -> int:
        while first[image] != image:
            first[image] = first[first[image]]
            image = first[image]
        return image

    for a, b in must.tolist():
        low, high = sorted((root(a), root(b)))
        first[high] = low
    groups: dict[int, list[int]] = {}
    for image in first:
        groups.setdefault(root(image), []).append(image)
    return {unit: np.array(members) for unit, members in groups.items()}
