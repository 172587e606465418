"""Groups of near-duplicates in a collection: those of the catalogue, and those that additions belong to.

Of an image of the index, the items say which group it is in. An added image belongs to the group of the
nearest image that it is a near-duplicate of, by the catalogue's own rule (`udml.data.duplicates`); an image
that was added goes by those of the index first, then by added ones of lower id, so that the order of
additions does not matter. That is found out when a search comes across it, and kept in memory.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from udml.collection.collection import Collection
from udml.collection.overlay import Overlay, search_index
from udml.data.details import SIDE_PX
from udml.data.duplicates import digest_of_pixels, duplicate_thumbnail, find_groups
from udml.errors import UdmlError
from udml.pixels import decode
from udml.search.items import IndexedItem

_NEAR = 0.9  # copies come no further from one another, whatever the model
_CANDIDATES = 6  # nearest images that an added one is compared with
_MAX_BITS, _MIN_CORRELATION = 8, 0.96  # as `prepare` has them
_LOOKS_KEPT = 256  # some 100 KiB each
_PAIRS_KEPT = 100_000


@dataclass(frozen=True)
class _Look:
    """What is compared of an image: a digest of its pixels, a thumbnail, and the pixels, made small."""

    digest: bytes
    thumbnail: np.ndarray
    pixels: np.ndarray


class CopyGroups:
    """Which images of a collection show the same; may be used from several threads.

    A group is known by its first image: of the catalogue's groups the one they are named after, of added
    images that are like no indexed one the lowest id.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._same = near_duplicates(collection.original)
        self._known: tuple[int, dict[int, int]] = (-1, {})  # of added images, at a revision

    def firsts(self, image_ids: Iterable[int], overlay: Overlay) -> dict[int, int]:
        """The first image of the group that each is in; an image that is like no other is its own first.

        Args:
            image_ids: of images that a search has found.
            overlay: what lay over the index then.
        """
        wanted = list(image_ids)
        indexed = self._collection.indexed_items(wanted)
        found = {i: first_of(item) for i, item in indexed.items()}
        return found | self._firsts_of_added([i for i in wanted if i not in found], overlay)

    def members(self, firsts: Iterable[int], overlay: Overlay) -> dict[int, int]:
        """Images of the index that are in the groups of these, removed ones left out: first, by image_id."""
        items = self._collection.indexed_copies(list(firsts))
        hidden = set(overlay.hidden.tolist())
        return {item.image_id: first_of(item) for item in items if item.image_id not in hidden}

    def _firsts_of_added(self, image_ids: list[int], overlay: Overlay) -> dict[int, int]:
        revision, known = self._known
        if revision != overlay.revision:
            known = {}
            self._known = overlay.revision, known
        for image_id in image_ids:
            path, last = [], image_id
            while last not in known:
                path.append(last)
                copied = next((c for c in self._candidates(last, overlay) if self._same(last, c)), None)
                item = None if copied is None else self._collection.indexed_items([copied]).get(copied)
                if copied is None or item:
                    known[last] = first_of(item) if item else last
                else:
                    last = copied  # an added image of lower id, so this ends
            known.update(dict.fromkeys(path, known[last]))
        return {i: known[i] for i in image_ids}

    def _candidates(self, image_id: int, overlay: Overlay) -> Iterator[int]:
        """What an added image may be a copy of: the nearest of the index, then of added ones of lower id."""
        rows = np.flatnonzero(overlay.ids == image_id)
        if len(rows) == 0:  # removed since
            return
        vector = overlay.vectors[rows[0]]
        index = self._collection.index
        if index.info.count > len(overlay.hidden):
            similarity, ids = search_index(index, vector[None], _CANDIDATES, overlay.hidden)
            yield from ids[0, similarity[0] > _NEAR].tolist()
        similarity = overlay.vectors @ vector
        near = np.flatnonzero((similarity > _NEAR) & (overlay.ids < image_id))
        nearest = near[np.argsort(-similarity[near], kind="stable")[:_CANDIDATES]]
        yield from overlay.ids[nearest].tolist()


def first_of(item: IndexedItem) -> int:
    """The first image of the group of an image of an index."""
    return item.image_id if item.copy_of is None else item.copy_of


def near_duplicates(original: Callable[[int], bytes]) -> Callable[[int, int], bool]:
    """Whether two images, by their ids, are near-duplicates; what has no original here is like no other."""

    @lru_cache(_LOOKS_KEPT)
    def look(image_id: int) -> _Look:
        pixels = decode(original(image_id), SIDE_PX).pixels
        return _Look(digest_of_pixels(pixels), duplicate_thumbnail(Image.fromarray(pixels)), pixels)

    @lru_cache(_PAIRS_KEPT)
    def compared(left: int, right: int) -> bool:
        looks = look(left), look(right)
        groups = find_groups(
            np.arange(2),
            np.array([one.digest for one in looks], "V16"),
            np.stack([one.thumbnail for one in looks]),
            _MAX_BITS,
            _MIN_CORRELATION,
            lambda row: looks[row].pixels,
        )
        return bool(groups[0] == groups[1])

    def same(left: int, right: int) -> bool:
        try:
            return compared(min(left, right), max(left, right))
        except UdmlError:
            return False

    return same
