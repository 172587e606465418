"""What a collection knows of its own images: each one's nearest others, and its mixture with them.

Database-side augmentation (Arandjelovic and Zisserman, CVPR 2012) with the weights of alpha query expansion
(Radenovic, Tolias and Chum, 1711.02512), six times over: an image becomes the unit vector of itself plus its
k nearest others, each weighted by the square of its similarity; then the same is done with what came of it
and the same weights. Later rounds reach the neighbours' neighbours, as far as every step is short, so that
they help large classes and spare small ones. Copies count once: a burst would otherwise mix with itself
alone. How many others, k, the graph tells without labels: `choose_mixed`. A query is mixed with the mixtures
of its nearest. Plain similarity keeps a say, or what is close together passes what is merely close.

Shapes: n images, d embedding length, c candidates of each query, best first. All vectors are float32 rows
of unit length, similarities are cosines.
"""

from typing import Any

import numpy as np

from udml.learning.mixing import COPY, STRETCH_ROWS, Rows, kept_first, mix, without_copies
from udml.search.gallery import search_base

NEIGHBOURS = 32  # of which the graph is made, and looked at for a query; copies take places among them
DEPTH = 100  # candidates that are put in order; further ones stay in plain order
# These and the share below were chosen on classes left out of training; docs/search.md has the tables.
MAX_MIXED = 4
ROUNDS = 6
_PLAIN_SHARE = 0.5
_TIE = 1e-6  # a matrix product may tell two equal vectors apart by less
_CLEAR = 0.004  # a fall of reciprocity that is not chance
_SHARE_OF_PEAK = 0.6  # nearer ones are surer than those at the edge of their kind
_LEAST_IMAGES = 20  # fewer say nothing of their neighbourhoods


def neighbour_graph(
    base: Any, vectors: Rows, count: int, exact: Rows | None
) -> tuple[np.ndarray, np.ndarray]:
    """Each image's nearest others, found by the index itself, copies among them.

    Args:
        base: the FAISS index of all n images, as it is searched.
        vectors: of the n images, by position.
        count: n.
        exact: as for `search_base`.

    Returns:
        Positions int32 and similarities float32, both [n, NEIGHBOURS], nearest first; -1 and 0 behind the
        last one.
    """
    positions = np.empty((count, NEIGHBOURS), np.int32)
    similarity = np.empty((count, NEIGHBOURS), np.float32)
    for start in range(0, count, STRETCH_ROWS):
        rows = np.arange(start, min(count, start + STRETCH_ROWS))
        positions[rows], similarity[rows] = neighbours_of(base, vectors, rows, exact)
    return positions, similarity


def neighbours_of(
    base: Any, vectors: Rows, rows: np.ndarray, exact: Rows | None
) -> tuple[np.ndarray, np.ndarray]:
    """As `neighbour_graph`, of the images at `rows`, int [m], alone: both [m, NEIGHBOURS]."""
    positions = np.full((len(rows), NEIGHBOURS), -1, np.int32)
    similarity = np.zeros((len(rows), NEIGHBOURS), np.float32)
    k = min(base.ntotal, NEIGHBOURS + 1)
    own = np.ascontiguousarray(vectors[rows], np.float32)
    found, places = search_base(base, own, k, exact)
    others, near = kept_first(places != rows[:, None], places.astype(np.int32), found)
    positions[:, : k - 1], similarity[:, : k - 1] = others[:, : k - 1], near[:, : k - 1]
    return positions, similarity


def whom_to_mix(
    positions: np.ndarray, similarity: np.ndarray, vectors: Rows
) -> tuple[np.ndarray, np.ndarray, str]:
    """The neighbours that each image is to be mixed with; how many, the graph itself tells.

    Args:
        positions: int32 [n, m], as `neighbour_graph` gives it.
        similarity: float32 [n, m], likewise.
        vectors: of the n images, by position.

    Returns:
        Positions int32 and similarities float32, [n, k], -1 and 0 for none, and why k, a sentence.
    """
    first = first_copies(positions, similarity)
    near, weights = without_copies(positions, similarity, vectors)
    k, because = choose_mixed(reciprocity(near, first), len(positions))
    return near[:, :k], weights[:, :k], because


def first_copies(positions: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """The first of each image's copies, or the image itself: int32 [n], of a graph [n, m]."""
    first = lowest_copies(positions, similarity)
    return first[first]


def lowest_copies(positions: np.ndarray, similarity: np.ndarray, start: int = 0) -> np.ndarray:
    """The lowest position among each image's copies and itself: int32 [m], of lists [m, k]."""
    own = np.arange(start, start + len(positions), dtype=np.int32)
    copies = np.where((similarity > COPY) & (positions >= 0), positions, own[:, None])
    return np.minimum(own, copies.min(axis=1, initial=np.iinfo(np.int32).max))


def reciprocity(positions: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Share of each image's k nearest that have it among their own k nearest, for k = 1, 2, ..., 0..1.

    Args:
        positions: int32 [n, m], from `without_copies`.
        first: int32 [n], from `first_copies`: a group of copies is one image.

    Returns:
        float64 [m]; 0 where nobody has so many neighbours.
    """
    positions = np.where(positions >= 0, first[positions], np.int32(-1))
    asking = np.flatnonzero(first == np.arange(len(first)))
    rank = np.full((len(asking), positions.shape[1]), positions.shape[1])  # its place in its neighbour's list
    for start in range(0, len(asking), STRETCH_ROWS):
        rows = slice(start, start + STRETCH_ROWS)
        own = asking[rows]
        theirs = positions[np.maximum(positions[own], 0)] == own[:, None, None]
        rank[rows] = np.where(theirs.any(axis=2), theirs.argmax(axis=2), positions.shape[1])
    shares = np.zeros(positions.shape[1])
    for k in range(1, positions.shape[1] + 1):
        asked = positions[asking, :k] >= 0
        if asked[:, -1].any():
            shares[k - 1] = (rank[:, :k][asked] < k).mean()
    return shares


def choose_mixed(shares: np.ndarray, count: int) -> tuple[int, str]:
    """How many neighbours to mix, from the reciprocity of the graph, and the reason in words.

    Where a thing has m images, each is among the nearest of its m - 1 fellows and they among its own, so
    reciprocity rises up to k = m - 1; beyond that, lists fill up with other things, which do not return it.
    The first k behind which it clearly falls tells the number of images of a thing. Without such a fall the
    number stays unknown, and four are mixed, which harmed at no class size measured.

    Args:
        shares: float64 [m], from `reciprocity`.
        count: images in the graph.

    Returns:
        0..MAX_MIXED and a sentence.
    """
    if count < _LEAST_IMAGES or not shares.any():
        return 0, f"{count:,} images are too few to tell which belong together"
    for k in range(1, int((shares > 0).sum())):
        ahead = shares[k : 2 * k + 1]
        if len(ahead) == k + 1 and ahead.min() < shares[k - 1] - _CLEAR and ahead.max() <= shares[k - 1]:
            because = f"reciprocity is highest at {k} neighbours ({shares[k - 1]:.0%}) and falls behind it"
            return int(np.clip(round(_SHARE_OF_PEAK * k), 1, MAX_MIXED)), because
    return MAX_MIXED, "reciprocity has no clear peak, so the number of images of a thing is not known"


def nearest_distinct(similarity: np.ndarray, vectors: np.ndarray, k: int) -> np.ndarray:
    """Whom a query is mixed with: the k nearest of its candidates that are no copies, of it or of each other.

    Args:
        similarity: float [c], to the query, best first.
        vectors: float32 [c, d], of the candidates.
        k: at most so many.

    Returns:
        int64 [at most k], places among the candidates, ascending.
    """
    kept: list[int] = []
    for place in np.flatnonzero(similarity <= COPY).tolist():
        if len(kept) == k:
            break
        if (np.einsum("kd,d->k", vectors[kept], vectors[place]) <= COPY).all():
            kept.append(place)
    return np.array(kept, np.int64)


def mix_one(vector: np.ndarray, similarity: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """One vector, float32 [d], mixed with its neighbours, float32 [k, d]; see `mix`."""
    return np.asarray(mix(vector[None], similarity[None], neighbours[None])[0])


def pinned_places(similarity: np.ndarray) -> int:
    """How many of one query's candidates keep their places; similarities [c], best first."""
    copies = int((similarity > COPY).sum())
    return copies if copies == len(similarity) else int((similarity >= similarity[copies] - _TIE).sum())


def refined_score(
    query: np.ndarray, similarity: np.ndarray, mixtures: np.ndarray, near: np.ndarray
) -> np.ndarray:
    """What one query's candidates are put in order by: more is better, float32 [c].

    Args:
        query: float32 [d], unit.
        similarity: float32 [c], of the candidates to the query, plain.
        mixtures: float32 [c, d], the candidates'.
        near: places among the candidates of those that the query is mixed with, see `nearest_distinct`.
    """
    mixed = mix_one(query, similarity[near], mixtures[near])
    return np.asarray(np.einsum("cd,d->c", mixtures, mixed) + np.float32(_PLAIN_SHARE) * similarity)


def refined_order(similarity: np.ndarray, score: np.ndarray, lowest: float) -> np.ndarray:
    """The order of one query's candidates when their neighbourhoods count.

    The query's copies, and the plainly nearest other image with what ties with it, keep their places: the
    first answer is that of plain search. Those less similar than `lowest` stay behind, in plain order.

    Args:
        similarity: float32 [c], plain, best first.
        score: float32 [c], from `refined_score`.
        lowest: plain similarity.

    Returns:
        int64 [c], places of the candidates in their new order.
    """
    shown = int((similarity >= lowest).sum())
    pinned = min(pinned_places(similarity), shown)
    free = pinned + np.argsort(-score[pinned:shown], kind="stable")
    return np.concatenate([np.arange(pinned), free, np.arange(shown, len(similarity))]).astype(np.int64)
