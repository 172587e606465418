"""From vectors to hits: search, leave out what is not wanted, collapse near-duplicates."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from udml.collection.contract import Chosen, CollectionStore, Groups
from udml.serving.engine.answers import Hit, Wanted

_LEAST_FETCHED = 100  # candidates that are collapsed; most have few copies
_MOST_FETCHED = 20_000  # of which nearly all are copies of k others, if there are not k among them
_MOST_COPIES = 200  # of each hit
Found = Sequence[tuple[int, float]]  # image_id and similarity, best first


@dataclass(frozen=True)
class Space:
    """What is searched: a collection, or what a filter chose of it."""

    collection: CollectionStore
    among: Chosen | None


def find(
    collection: CollectionStore, copies: Groups, vectors: np.ndarray, wanted: Wanted, leave_out: Set[int]
) -> list[list[Hit]]:
    """The hits of each vector, float32 [n, d]; see `Searcher.neighbours`."""
    among = None if wanted.where is None else collection.choose(wanted.where)
    if among is not None and len(among) == 0:
        return [[] for _ in vectors]
    space = Space(collection, among)
    if wanted.collapse:
        return [_collapsed(space, copies, vector, wanted, leave_out) for vector in vectors]
    found, _ = _search(space, vectors, wanted, wanted.k, leave_out)
    items = collection.items({i for row in found for i, _ in row})
    return [
        [Hit(i, s, items[i].source, items[i].label) for i, s in row if i in items][: wanted.k]
        for row in found
    ]


def _search(
    space: Space, vectors: np.ndarray, wanted: Wanted, count: int, leave_out: Set[int]
) -> tuple[list[list[tuple[int, float]]], bool]:
    """At least the best `count` of each vector that pass, and whether that is all there are."""
    lowest = -np.inf if wanted.threshold is None else wanted.threshold
    count += len(leave_out)
    if wanted.refine == "none":
        similarity, ids = space.collection.search(vectors, count, space.among)
    else:
        similarity, ids = space.collection.search_refined(vectors, count, lowest, space.among)
    found = [
        [(i, s) for i, s in zip(row_ids, row, strict=True) if s >= lowest and i not in leave_out]
        for row_ids, row in zip(ids.tolist(), similarity.tolist(), strict=True)
    ]
    return found, ids.shape[1] < count or bool((similarity[:, -1:] < lowest).all())


def _collapsed(
    space: Space, copies: Groups, vector: np.ndarray, wanted: Wanted, leave_out: Set[int]
) -> list[Hit]:
    """One vector's hits, of each group of near-duplicates the best, with the others as its copies."""
    collection = space.collection
    overlay = collection.refresh()
    count = max(_LEAST_FETCHED, 2 * wanted.k)
    while True:
        (found,), is_all = _search(space, vector[None], wanted, count, leave_out)
        firsts = copies.firsts([i for i, _ in found], overlay)
        groups: dict[int, list[tuple[int, float]]] = {}
        for i, s in found:
            groups.setdefault(firsts[i], []).append((i, s))
        if len(groups) >= wanted.k or is_all or count >= _MOST_FETCHED:
            break
        count *= 4
    shown = {first: groups[first] for first in list(groups)[: wanted.k]}
    others = copies.members(shown, overlay)
    unseen = [i for i in others if i not in firsts and i not in leave_out]
    if space.among is not None and unseen:
        chosen = space.among.holds(unseen)
        unseen = [i for i in unseen if i in chosen]
    for i, s in _similar_enough(collection, vector, unseen, wanted.threshold):
        shown[others[i]].append((i, s))
    return _as_hits(collection, shown.values())


def _similar_enough(
    collection: CollectionStore, vector: np.ndarray, image_ids: list[int], threshold: float | None
) -> Found:
    """Those of these images of the index that pass, with their similarities."""
    if not image_ids:
        return []
    similarity = (collection.vectors(image_ids) @ vector).tolist()
    return [(i, s) for i, s in zip(image_ids, similarity, strict=True) if threshold is None or s >= threshold]


def _as_hits(collection: CollectionStore, groups: Iterable[Found]) -> list[Hit]:
    """The first of each group, with the others, most similar first."""
    kept = [
        [*group[:1], *sorted(group[1:], key=lambda one: (-one[1], one[0]))[:_MOST_COPIES]] for group in groups
    ]
    items = collection.items({i for group in kept for i, _ in group})
    hits = []
    for group in kept:
        found = [Hit(i, s, items[i].source, items[i].label) for i, s in group if i in items]
        if found:
            hits.append(replace(found[0], copies=tuple(found[1:])))
    return hits
