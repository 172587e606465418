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
from udml.learning.mixing import COPY, kept_first, mix, mix_all, without_copies
from udml.search.neighbourhood import (
    DEPTH,
    NEIGHBOURS,
    ROUNDS,
    nearest_distinct,
    neighbour_graph,
    pinned_places,
    refined_score,
    whom_to_mix,
)


@dataclass(frozen=True)
class Neighbourhoods:
    """A gallery's mixtures, and what is needed to make some of them anew.

    Attributes:
        gallery: float32 [m, d].
        positions, similarity: int32 and float32 [m, n], the graph as found, copies among it.
        copied: bool [m], who has copies.
        nearest, weights: int32 and float32 [m, k], whom each image is mixed with.
        rounds: the gallery, and the mixtures of each round, float16 [m, d].
        counted_by: for each image those that are mixed with it, int64 each.
        because: why k, a sentence.
    """

    gallery: np.ndarray
    positions: np.ndarray
    similarity: np.ndarray
    copied: np.ndarray
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
    copied = np.asarray((similarity > COPY).any(axis=1))
    return Neighbourhoods(gallery, positions, similarity, copied, near, weights, rounds, counted_by, because)


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
        near = nearest_distinct(plain[:NEIGHBOURS], known.gallery[found[:NEIGHBOURS]], known.count)
        score = refined_score(query, plain, _mixtures_without(known, missing, found), near)
        pinned = np.arange(len(found)) < pinned_places(plain)
        ranked[found] = np.where(pinned, 8 + plain, 4 + score)  # similarities end at 1, scores at 1.5
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


@dataclass(frozen=True)
class _Some:
    """Something of some of the gallery's images, found by their positions.

    Attributes:
        rows: int64 [n], whose.
        place: int32 [m], where each image's is among them, -1 where it has none.
        values: arrays [n, ...].
    """

    rows: np.ndarray
    place: np.ndarray
    values: tuple[np.ndarray, ...]


def _some(count: int, rows: np.ndarray, *values: np.ndarray) -> _Some:
    place = np.full(count, -1, np.int32)
    place[rows] = np.arange(len(rows))
    return _Some(rows, place, values)


def _mixtures_without(known: Neighbourhoods, missing: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The mixtures of some images, float32 [n, d], as they are in a gallery that lacks the missing ones.

    Changed are, in the first round, those who counted a missing image; in each later one also those who
    count one that has changed. Of these only they are made anew that the images asked for depend on.
    """
    count = len(known.gallery)
    counting = _counting(known.counted_by, missing, count)
    rows = np.flatnonzero(counting)
    lists = _some(count, rows, *_nearest_without(known, missing, rows))
    needed = [np.zeros(count, bool)]
    needed[0][of] = True
    for _ in range(ROUNDS - 1):
        near = _patched((known.nearest,), lists, np.flatnonzero(needed[-1]))[0]
        needed.append(needed[-1].copy())
        needed[-1][near[near >= 0]] = True
    changed = counting
    anew = _some(count, np.empty(0, np.int64), np.empty((0, known.gallery.shape[1]), np.float16))
    for before, asked in zip(known.rounds, reversed(needed), strict=False):
        made = np.flatnonzero(asked & changed)
        near, weights = _patched((known.nearest, known.weights), lists, made)
        own, others = (_vectors(before, anew, rows) for rows in (made, np.maximum(near, 0)))
        anew = _some(count, made, mix(own, weights, others).astype(np.float16))
        changed = changed | _counting(known.counted_by, np.flatnonzero(changed), count)
    return _vectors(known.rounds[-1], anew, of)


def _counting(counted_by: Sequence[np.ndarray], images: np.ndarray, count: int) -> np.ndarray:
    """Who is mixed with one of these images: bool [m]."""
    counting = np.zeros(count, bool)
    counting[np.concatenate([np.empty(0, np.int64), *(counted_by[image] for image in images)])] = True
    return counting


def _patched(whole: Sequence[np.ndarray], anew: _Some, rows: np.ndarray) -> list[np.ndarray]:
    """Rows of the arrays, [m, ...] each, but for those that there is something newer of."""
    place = anew.place[rows]
    newer = place >= 0
    found = [array[rows] for array in whole]
    for old, new in zip(found, anew.values, strict=False):
        old[newer] = new[place[newer]]
    return found


def _vectors(whole: np.ndarray, anew: _Some, rows: np.ndarray) -> np.ndarray:
    """As `_patched`, of one array of vectors: float32 [..., d]."""
    return _patched((whole,), anew, rows)[0].astype(np.float32)


def _nearest_without(
    known: Neighbourhoods, missing: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whom these images are mixed with where some are missing: positions and similarities [n, k]."""
    positions = known.positions[rows]
    positions = np.where(np.isin(positions, missing), np.int32(-1), positions)
    similarity = known.similarity[rows]
    near, weights = kept_first((positions >= 0) & (similarity <= COPY), positions, similarity)
    some = (known.copied[positions] & (positions >= 0)).any(axis=1)  # may hold copies of each other
    near[some], weights[some] = without_copies(positions[some], similarity[some], known.gallery)
    return near[:, : known.count], weights[:, : known.count]
