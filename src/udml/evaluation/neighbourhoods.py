"""Figures of search by neighbourhoods, for queries that are in the gallery themselves.

A query that is in the gallery has mixed itself into its neighbours, who would then point at it and at one
another: figures would be too good. So every query is asked as if the gallery had been built without it, and,
where copies don't count, without its copies. Few mixtures change by that: of those who count a missing
image among their nearest, and of those who count one of these. They are made anew for each query; see
`udml.search.neighbourhood` for what a mixture is.

Shapes: m gallery images, d embedding length, k neighbours that are mixed. Float32 unit rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from udml.evaluation.metrics import Refine
from udml.search.neighbourhood import (
    DEPTH,
    NEIGHBOURS,
    ROUNDS,
    mix,
    mix_all,
    mix_one,
    nearest_distinct,
    neighbour_graph,
    pinned_places,
    whom_to_mix,
    without_copies,
)


@dataclass(frozen=True)
class Neighbourhoods:
    """A gallery's mixtures, and what is needed to make some of them anew.

    Attributes:
        gallery: float32 [m, d].
        positions, similarity: int32 and float32 [m, n], the graph as found, copies among it.
        nearest, weights: int32 and float32 [m, k], whom each image is mixed with.
        rounds: the gallery, and the mixtures of each round, float16 [m, d].
        counted_by: for each image those that are mixed with it, int64 each.
        because: why k, a sentence.
    """

    gallery: np.ndarray
    positions: np.ndarray
    similarity: np.ndarray
    nearest: np.ndarray
    weights: np.ndarray
    rounds: Sequence[np.ndarray]
    counted_by: Sequence[np.ndarray]
    because: str

    @property
    def count(self) -> int:
        """k; 0 where search is by similarity alone."""
        return self.nearest.shape[1]


def know_neighbourhoods(gallery: np.ndarray) -> Neighbourhoods:
    """Mix each image of a gallery, float32 [m, d], with its neighbours, as the index stage does."""
    base = faiss.IndexFlatIP(gallery.shape[1])
    base.add(np.ascontiguousarray(gallery))
    positions, similarity = neighbour_graph(base, gallery, len(gallery), None)
    near, weights, because = whom_to_mix(positions, similarity, gallery)
    rounds = [gallery]
    for _ in range(ROUNDS):
        mixed = np.empty(gallery.shape, np.float16)
        mix_all(rounds[-1], near, weights, mixed)
        rounds.append(mixed)
    counted_by = _counted_by(near, len(gallery))
    return Neighbourhoods(gallery, positions, similarity, near, weights, rounds, counted_by, because)


def refine_with(known: Neighbourhoods) -> Refine:
    """What to rank a query's gallery by: larger is better, float64 [m].

    First its copies and the plainly nearest other image (and what ties with it), then the other candidates
    by how similar their mixtures are to the query's, then everything else by plain similarity. Whoever is
    missing for a query counts in no mixture; its own value means nothing.
    """

    def refine(query: np.ndarray, similarity: np.ndarray, missing: np.ndarray) -> np.ndarray:
        ranked = similarity.astype(np.float64)
        ranked[missing] = -2
        found = _best(ranked, DEPTH)
        plain = ranked[found]
        near = found[:NEIGHBOURS]
        near = near[nearest_distinct(plain[:NEIGHBOURS], known.gallery[near], known.count)]
        expanded = mix_one(query, similarity[near], known.gallery[near])
        score = _mixtures_without(known, missing, found) @ expanded
        pinned = np.arange(len(found)) < pinned_places(plain)
        ranked[found] = np.where(pinned, 4 + plain, 2 + score)  # similarities end at 1, scores too
        return ranked

    return refine


def refined_neighbours(known: Neighbourhoods, query: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """What a search finds for one of the gallery's own images, itself left out: positions and cosines [k]."""
    similarity = known.gallery @ known.gallery[query]
    ranked = refine_with(known)(known.gallery[query], similarity, np.array([query]))
    found = _best(ranked, k + 1)
    found = found[found != query][:k]
    return found, similarity[found]


def _best(values: np.ndarray, count: int) -> np.ndarray:
    """Positions of the largest values, the largest first, of equal ones the earlier."""
    count = min(count, len(values))
    some = np.sort(np.argpartition(-values, count - 1)[:count])
    return some[np.argsort(-values[some], kind="stable")]


def _counted_by(nearest: np.ndarray, count: int) -> list[np.ndarray]:
    """For each image the images that are mixed with it, int64 each."""
    rows, _ = np.nonzero(nearest >= 0)
    order = np.argsort(nearest[nearest >= 0], kind="stable")
    ends = np.cumsum(np.bincount(nearest[nearest >= 0], minlength=count))
    return np.split(rows[order], ends[:-1])


def _mixtures_without(known: Neighbourhoods, missing: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The mixtures of some images, float32 [n, d], as they are in a gallery that lacks the missing ones.

    Changed are, in the first round, those who counted a missing image; in each later one also those who
    count one that has changed. Of these only they are made anew that the images asked for depend on.
    """
    counting = _counting(known.counted_by, missing)
    lists = counting, *_nearest_without(known, missing, counting)
    needed = [of]
    for _ in range(ROUNDS - 1):
        near = _lists_of(known, lists, needed[-1])[0]
        needed.append(np.union1d(needed[-1], near[near >= 0]))
    changed = counting
    anew = np.empty(0, np.int64), np.empty((0, known.gallery.shape[1]), np.float16)
    for before, rows in zip(known.rounds, reversed(needed), strict=False):
        made = np.intersect1d(rows, changed)
        near, weights = _lists_of(known, lists, made)
        mixed = mix(_patched(before, anew, made), weights, _patched(before, anew, np.maximum(near, 0)))
        anew = made, mixed.astype(np.float16)
        changed = np.union1d(changed, _counting(known.counted_by, changed))
    return _patched(known.rounds[-1], anew, of)


def _counting(counted_by: Sequence[np.ndarray], images: np.ndarray) -> np.ndarray:
    """Everybody who is mixed with one of these images, ascending."""
    return np.unique(np.concatenate([np.empty(0, np.int64), *(counted_by[image] for image in images)]))


def _lists_of(
    known: Neighbourhoods, changed: tuple[np.ndarray, np.ndarray, np.ndarray], rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whom these images are mixed with, positions and similarities [n, k]; some have other lists by now."""
    near, weights = known.nearest[rows], known.weights[rows]
    other = np.isin(rows, changed[0])
    place = np.searchsorted(changed[0], rows[other])
    near[other], weights[other] = changed[1][place], changed[2][place]
    return near, weights


def _patched(whole: np.ndarray, anew: tuple[np.ndarray, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Rows of `whole`, float32 [..., d], but for those that were made anew: their numbers and vectors."""
    found = whole[rows].astype(np.float32)
    other = np.isin(rows, anew[0])
    found[other] = anew[1][np.searchsorted(anew[0], rows[other])]
    return found


def _nearest_without(
    known: Neighbourhoods, missing: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whom these images are mixed with where some are missing: positions and similarities [n, k]."""
    positions = known.positions[rows]
    positions = np.where(np.isin(positions, missing), np.int32(-1), positions)
    near, weights = without_copies(positions, known.similarity[rows], known.gallery)
    return near[:, : known.count], weights[:, : known.count]
