"""Figures of search by neighbourhoods, for queries that are in the gallery themselves.

A query that is in the gallery has mixed itself into its neighbours, who would then point at it and at one
another: figures would be too good. So every query is asked as if the gallery had been built without it, and,
where copies don't count, without its copies. Few mixtures change by that: of those who count a missing
image among their nearest, and of those who count one of these. They are made anew for each query; see
`udml.search.neighbourhood` for what a mixture is.

Shapes: m gallery images, d embedding length, k neighbours that are mixed. Float32 unit rows.
"""

from dataclasses import dataclass

import faiss
import numpy as np

from udml.evaluation.metrics import Refine
from udml.search.neighbourhood import (
    COPY,
    DEPTH,
    NEIGHBOURS,
    distinct,
    mix,
    mix_all,
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
        nearest: int32 [m, k], whom each image is mixed with.
        once, mixed: float16 [m, d], mixtures of the first round and of the second.
        because: why k, a sentence.
    """

    gallery: np.ndarray
    positions: np.ndarray
    similarity: np.ndarray
    nearest: np.ndarray
    once: np.ndarray
    mixed: np.ndarray
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
    once, mixed = (np.empty(gallery.shape, np.float16) for _ in range(2))
    mix_all(gallery, near, weights, once)
    mix_all(once, near, weights, mixed)
    return Neighbourhoods(gallery, positions, similarity, near, once, mixed, because)


def refine_with(known: Neighbourhoods) -> Refine:
    """What to rank a query's gallery by: larger is better, float64 [m].

    First its copies and the plainly nearest other image (and what ties with it), then the other candidates
    by how similar their mixtures are to the query's, then everything else by plain similarity. Whoever is
    missing for a query counts in no mixture; its own value means nothing.
    """
    counted_by = _counted_by(known.nearest, len(known.gallery))

    def refine(query: np.ndarray, similarity: np.ndarray, missing: np.ndarray) -> np.ndarray:
        ranked = similarity.astype(np.float64)
        ranked[missing] = -2
        found = _best(ranked, DEPTH)
        plain = ranked[found]
        near = found[:NEIGHBOURS]
        kept = distinct((ranked[near] <= COPY)[None], known.gallery[near][None])[0]
        near = near[kept][: known.count]
        weights = similarity[near][None].astype(np.float32)
        expanded = mix(query[None], weights, known.gallery[near][None])[0]
        score = _mixtures_without(known, counted_by, missing, found) @ expanded
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


def _mixtures_without(
    known: Neighbourhoods, counted_by: list[np.ndarray], missing: np.ndarray, of: np.ndarray
) -> np.ndarray:
    """The mixtures of some images, float32 [n, d], as they are in a gallery that lacks the missing ones."""
    mixtures = known.mixed[of].astype(np.float32)
    changed = np.unique(np.concatenate([np.empty(0, np.int64), *(counted_by[i] for i in missing)]))
    touched = np.isin(of, changed) | np.isin(known.nearest[of], changed).any(axis=1)
    rows = of[touched]
    if len(rows) == 0:
        return mixtures
    near, weights = _nearest_without(known, missing, rows)
    members = np.unique(np.concatenate([rows, near[near >= 0]]))
    once = _once_without(known, missing, changed, members)
    place = np.searchsorted(members, np.where(near >= 0, near, members[0]))
    mixed = mix(once[np.searchsorted(members, rows)], weights, once[place])
    mixtures[touched] = mixed.astype(np.float16)
    return mixtures


def _once_without(
    known: Neighbourhoods, missing: np.ndarray, changed: np.ndarray, of: np.ndarray
) -> np.ndarray:
    """Mixtures of the first round, float32 [n, d]; those of `changed` images are made anew."""
    once = known.once[of].astype(np.float32)
    anew = np.isin(of, changed)
    rows = of[anew]
    if len(rows):
        near, weights = _nearest_without(known, missing, rows)
        made = mix(known.gallery[rows], weights, known.gallery[np.maximum(near, 0)])
        once[anew] = made.astype(np.float16)
    return once


def _nearest_without(
    known: Neighbourhoods, missing: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whom these images are mixed with where some are missing: positions and similarities [n, k]."""
    positions = known.positions[rows]
    there = ~np.isin(positions, missing)
    positions = np.where(there, positions, np.int32(-1))
    near, weights = without_copies(positions, known.similarity[rows], known.gallery)
    return near[:, : known.count], weights[:, : known.count]
