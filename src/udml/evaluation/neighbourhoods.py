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
        rounds: the gallery, and the mixtures of each round, float32 [m, d] as float16 can hold.
        counted_by: int64, for one image after another those that are mixed with it.
        ends: int64 [m + 1]; those of image i are counted_by[ends[i] : ends[i + 1]].
        because: why k, a sentence.
    """

    gallery: np.ndarray
    positions: np.ndarray
    similarity: np.ndarray
    copied: np.ndarray
    nearest: np.ndarray
    weights: np.ndarray
    rounds: Sequence[np.ndarray]
    counted_by: np.ndarray
    ends: np.ndarray
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
        rounds.append(mixed.astype(np.float32))  # read again and again, which takes long of float16
    copied = np.asarray((similarity > COPY).any(axis=1))
    inverse = _counted_by(near, len(gallery))
    return Neighbourhoods(gallery, positions, similarity, copied, near, weights, rounds, *inverse, because)


def refine_with(known: Neighbourhoods) -> Refine:
    """What to rank the gallery of some queries by: larger is better, float64 [q, m].

    First a query's copies and the plainly nearest other image (and what ties with it), then the other
    candidates by how similar their mixtures are to the query's, then everything else by plain similarity.
    Whoever is missing for a query counts in no mixture; its own value means nothing.
    """

    def refine(queries: np.ndarray, similarity: np.ndarray, missing: Sequence[np.ndarray]) -> np.ndarray:
        ranked = similarity.astype(np.float64)
        for line, absent in zip(ranked, missing, strict=True):
            line[absent] = -2
        found = np.stack([_best(line, DEPTH) for line in ranked])
        for query, line, some, mixtures in zip(
            queries, ranked, found, _mixtures_without(known, missing, found), strict=True
        ):
            plain = line[some]
            near = nearest_distinct(plain[:NEIGHBOURS], known.gallery[some[:NEIGHBOURS]], known.count)
            score = refined_score(query, plain, mixtures, near)
            pinned = np.arange(len(some)) < pinned_places(plain)
            line[some] = np.where(pinned, 8 + plain, 4 + score)  # similarities end at 1, scores at 1.5
        return ranked

    return refine


def refined_neighbours(known: Neighbourhoods, query: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """What a search finds for one of the gallery's own images, itself left out: positions and cosines [k]."""
    similarity = known.gallery @ known.gallery[query]
    ranked = refine_with(known)(known.gallery[query][None], similarity[None], [np.array([query])])[0]
    found = _best(ranked, k + 1)
    found = found[found != query][:k]
    return found, similarity[found]


def _best(values: np.ndarray, count: int) -> np.ndarray:
    """Positions of the largest values, the largest first, of equal ones the earlier."""
    count = min(count, len(values))
    some = np.sort(np.argpartition(-values, count - 1)[:count])
    return some[np.argsort(-values[some], kind="stable")]


def _counted_by(nearest: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For each image the images that are mixed with it, and where each one's begin: see `Neighbourhoods`."""
    rows, _ = np.nonzero(nearest >= 0)
    order = np.argsort(nearest[nearest >= 0], kind="stable")
    ends = np.cumsum(np.bincount(nearest[nearest >= 0], minlength=count))
    return rows[order], np.concatenate([[0], ends])


# --- mixtures of galleries that lack somebody, one gallery for each of q queries ----------------------
#
# An image of the gallery of query number i has the place i * m + its position there.


@dataclass(frozen=True)
class _Some:
    """Something of some of the galleries' images, found by their places.

    Attributes:
        place: int32 [q m], where each image's is among them, -1 where it has none.
        values: arrays [n, ...], of the n images that have one.
    """

    place: np.ndarray
    values: tuple[np.ndarray, ...]


def _some(count: int, rows: np.ndarray, *values: np.ndarray) -> _Some:
    place = np.full(count, -1, np.int32)
    place[rows] = np.arange(len(rows))
    return _Some(place, values)


def _mixtures_without(known: Neighbourhoods, missing: Sequence[np.ndarray], of: np.ndarray) -> np.ndarray:
    """The mixtures of some images, float32 [q, n, d], as they are in galleries that lack the missing ones.

    Changed are, in the first round, those who counted a missing image; in each later one also those who
    count one that has changed. Of these only they are made anew that the images asked for depend on.

    Args:
        known: of the whole gallery.
        missing: int, for each query who is missing.
        of: int [q, n], for each query whose mixtures are asked for.
    """
    size = len(known.gallery)
    first = size * np.arange(len(missing))
    count = size * len(missing)
    absent, asked = np.zeros(count, bool), np.zeros(count, bool)
    absent[np.concatenate([at + some for at, some in zip(first, missing, strict=True)])] = True
    of = first[:, None] + of
    asked[of] = True
    changed = _counting(known, absent)
    rows = np.flatnonzero(changed)
    lists = _some(count, rows, *_nearest_without(known, absent, rows))
    needed = [asked]
    for _ in range(ROUNDS - 1):
        asking = np.flatnonzero(needed[-1])
        near = _patched((known.nearest,), lists, asking)[0]
        needed.append(needed[-1].copy())
        needed[-1][_placed(near, asking, size)[near >= 0]] = True
    anew = _some(count, np.empty(0, np.int64), np.empty((0, known.gallery.shape[1]), np.float32))
    for before, wanted in zip(known.rounds, reversed(needed), strict=False):
        made = np.flatnonzero(wanted & changed)
        near, weights = _patched((known.nearest, known.weights), lists, made)
        own, others = (_patched((before,), anew, places)[0] for places in (made, _placed(near, made, size)))
        anew = _some(count, made, mix(own, weights, others))
        changed = changed | _counting(known, changed)
    return _patched((known.rounds[-1],), anew, of)[0]


def _placed(near: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """Places of the neighbours, positions [n, k], of images at `rows` [n]; for none, any of their gallery."""
    return (rows - rows % size)[:, None] + np.maximum(near, 0)


def _counting(known: Neighbourhoods, images: np.ndarray) -> np.ndarray:
    """Who is mixed with one of these images, bool [q m]: bool [q m]."""
    rows = np.flatnonzero(images)
    position = rows % len(known.gallery)
    begin = known.ends[position]
    counts = known.ends[position + 1] - begin
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    counting = np.zeros(len(images), bool)
    counting[np.repeat(rows - position, counts) + known.counted_by[np.repeat(begin, counts) + within]] = True
    return counting


def _patched(whole: Sequence[np.ndarray], anew: _Some, rows: np.ndarray) -> list[np.ndarray]:
    """What the arrays, [m, ...] each, hold of images, but where there is something newer of them."""
    place = anew.place[rows]
    newer = place >= 0
    found = [array[rows % len(array)] for array in whole]
    for old, new in zip(found, anew.values, strict=False):
        old[newer] = new[place[newer]]
    return found


def _nearest_without(
    known: Neighbourhoods, absent: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whom these images are mixed with where some are missing: positions and similarities [n, k].

    Args:
        known: of the whole gallery.
        absent: bool [q m], who is missing.
        rows: int [n], places.
    """
    size = len(known.gallery)
    positions = known.positions[rows % size]
    positions = np.where(absent[_placed(positions, rows, size)], np.int32(-1), positions)
    similarity = known.similarity[rows % size]
    near, weights = kept_first((positions >= 0) & (similarity <= COPY), positions, similarity)
    some = (known.copied[positions] & (positions >= 0)).any(axis=1)  # may hold copies of each other
    near[some], weights[some] = without_copies(positions[some], similarity[some], known.gallery)
    return near[:, : known.count], weights[:, : known.count]
