"""A collection that changes while it is searched: an index, what was added to it, less what was removed.

Many threads may search while one changes it; changes of other processes are noticed by their revision.
Shapes: n queries, k neighbours, d embedding length.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from udml.collection.adding import add_file, live, speaks_of
from udml.collection.additions import Additions
from udml.collection.change import ChangedItem, State
from udml.collection.facts import AddedColumns
from udml.collection.filtering.chosen import Chosen, Filters
from udml.collection.outcome import Added, GoneError, NewFile, unknown_image
from udml.collection.overlay import Overlay, OverlayRows, evenly_spread
from udml.collection.refined import mixtures_of_added, rows_of, search_plain, search_refined
from udml.data.originals import ImportedOriginals
from udml.errors import UdmlError
from udml.pixels import Undecodable
from udml.progress import progress
from udml.search.columns import Kind
from udml.search.gallery import GalleryIndex, vector_at
from udml.search.items import NOT_IN_DATA, IndexedItem, Item, Items
from udml.text import printable

# Files' bytes or pixels in, a unit vector float32 [d] or the reason why not for each
Embed = Callable[[Sequence["bytes | np.ndarray"]], list["np.ndarray | Undecodable"]]
_log = logging.getLogger(__name__)
_EMBEDDED_AT_ONCE = 64


class Collection:
    """An open index with its additions."""

    def __init__(
        self, index: GalleryIndex, items: Items, additions: Additions | None, data: Path, embed: Embed
    ) -> None:
        """Lay the additions over an index.

        Args:
            index: an open index.
            items: what is behind its ids.
            additions: None for a collection that can't be changed.
            data: the imported data, where the index's originals are.
            embed: gives the index's model's vectors for files; called for additions that it has not
                seen yet, now and whenever another process brings some.
        """
        self.index, self.info = index, index.info
        self._items = items
        self._additions = additions
        self._data = data
        self._embed = embed
        self._lock = threading.Lock()  # of the rows
        self._originals = ImportedOriginals(data, None if additions is None else additions.path.parent)
        self.added_columns = AddedColumns(additions)
        self._filters = Filters(index, self.added_columns.of)
        self._rows = OverlayRows(index.info.dim)
        self._overlay = self._rows.overlay(0)
        self.refresh()

    def __len__(self) -> int:
        """Images that a search can find."""
        overlay = self.refresh()
        return self.index.info.count - len(overlay.hidden) + len(overlay.ids)

    # --- reading ----------------------------------------------------------------------------------

    def refresh(self) -> Overlay:
        """Take in what has changed, in this process or another; microseconds if nothing has."""
        if self._additions is None or self._additions.revision() == self._overlay.revision:
            return self._overlay
        with self._lock:
            revision, changed = self._additions.changes(self._overlay.revision)
            if revision != self._overlay.revision:
                self._take_in(changed)
                self._overlay = self._rows.overlay(revision)
            return self._overlay

    def columns(self) -> dict[str, Kind]:
        """What filters may ask for, by name."""
        return {name: column.kind for name, column in self.index.columns.items()}

    def choose(self, where: str) -> Chosen:
        """The images that meet a filter; see `contract`."""
        return self._filters.choose(where, self.refresh())

    def search(
        self, queries: np.ndarray, k: int, among: Chosen | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `contract` says: added images are searched exactly, the index as exactly as its kind does."""
        return search_plain(self.index, self.refresh(), queries, k, among)

    def search_refined(
        self, queries: np.ndarray, k: int, lowest: float = -np.inf, among: Chosen | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best images of each query, in the order of their neighbourhoods; see `search`.

        The first is that of plain search, and the similarities are plain cosines, so that they need not
        descend. Images less similar than `lowest` come after the others.
        """
        return search_refined(self.index, self.refresh(), queries, k, lowest, among)

    def indexed_items(self, image_ids: Sequence[int]) -> dict[int, IndexedItem]:
        """What the index itself says of its images, by id; others are left out."""
        return self._items.get_many(image_ids)

    def indexed_copies(self, firsts: Sequence[int]) -> list[IndexedItem]:
        """What the index holds of the groups of near-duplicates that begin with these ids, removed or not."""
        return self._items.copies(firsts)

    def items(self, image_ids: Iterable[int]) -> dict[int, Item]:
        """What is behind ids that a search has found, by id; also if one was removed since."""
        wanted = list(set(image_ids))
        found: dict[int, Item] = dict(self._items.get_many(wanted))
        for i in wanted:
            if i not in found and self._additions and (changed := self._additions.get(i)):
                found[i] = changed
        return found

    def item(self, image_id: int) -> Item:
        """The image of this id.

        Raises:
            UdmlError: if it is not in the collection (any more).
        """
        changed = self._additions.get(image_id) if self._additions else None
        item = live(self._items.get(image_id), changed)
        if item is None:
            raise unknown_image(image_id)
        return item

    def vector(self, image_id: int) -> np.ndarray:
        """The vector of an image, float32 [d].

        Raises:
            UdmlError: if it is not in the collection (any more).
        """
        item, overlay = self.item(image_id), self.refresh()
        if isinstance(item, IndexedItem):
            return vector_at(self.index, item.position)
        row = np.flatnonzero(overlay.ids == image_id)
        if len(row) == 0:
            raise unknown_image(image_id)
        return overlay.vectors[row[0]]

    def vectors(self, image_ids: Sequence[int]) -> np.ndarray:
        """The vectors of images that a search has found, float32 [n, d]; zeros for one that is gone."""
        return rows_of(self.index, self.refresh(), np.array(image_ids, np.int64), mixed=False)

    def sample(self, at_most: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Images spread evenly over the collection: ids, vectors, and how many there are; see `contract`."""
        ids, images = evenly_spread(self.index, overlay := self.refresh(), at_most)
        return ids, rows_of(self.index, overlay, ids, mixed=False), images

    def original(self, image_id: int) -> bytes:
        """The bytes of an image's file.

        Raises:
            NoImageError: if it is not in the collection (any more).
            GoneError: if its original is nowhere.
            UdmlError: if the disk can't be read.
        """
        item = self.item(image_id)
        if isinstance(item, IndexedItem) and item.data_shard != NOT_IN_DATA:
            place_in_data = (item.data_shard, item.data_offset, item.size_bytes)
            data = self._originals.read(item.image_id, *place_in_data, item.sha256)
            place = f"{self._data} holds another import now"
        else:
            data = self._additions.original(image_id) if self._additions else None
            place = "it was removed, or the file of additions is not the one it was added to"
        if data is None or hashlib.sha256(data).hexdigest() != item.sha256:
            raise GoneError(
                f"the original of image {image_id:016x} ({printable(item.source)}) is not there: {place}",
                "bring back the data or the file it was indexed with",
            )
        return data

    # --- changing ---------------------------------------------------------------------------------

    def add(self, files: Sequence[NewFile]) -> list[Added]:
        """Put files into the collection; they are on disk, and found by searches, when this returns.

        A file that can't be used is refused, the others go on. Killed half-way, it has added nothing.

        Returns:
            What came of each file, in the order given.

        Raises:
            UdmlError: if this collection can't be changed, or its file of additions is not usable.
        """
        additions, model_version = self._changeable(), self.index.info.model_version
        hashed = [(file, hashlib.sha256(file.data).hexdigest()) for file in files]
        vectors: dict[str, np.ndarray | Undecodable] = {}
        while True:
            # Vectors are made while nobody waits. What is missing is decided anew after that.
            try:
                with additions.change() as change:
                    added = [
                        add_file(change, self._items, model_version, file, sha256, vectors)
                        for file, sha256 in hashed
                    ]
                    missing = {
                        sha256 for (_, sha256), done in zip(hashed, added, strict=True) if done is None
                    }
                    if missing:
                        raise _VectorsMissingError
                self.refresh()
                return [done for done in added if done is not None]
            except _VectorsMissingError:
                unseen = {
                    sha256: file.data if file.pixels is None else file.pixels
                    for file, sha256 in hashed
                    if sha256 in missing
                }
                vectors |= dict(zip(unseen, self._embed(list(unseen.values())), strict=True))

    def remove(self, image_ids: Sequence[int]) -> None:
        """Take images out of the collection; on disk, and gone from searches, when this returns.

        Raises:
            UdmlError: if one of them is not in the collection, in which case none is removed, or if
                this collection can't be changed.
        """
        with self._changeable().change() as change:
            for i in dict.fromkeys(image_ids):
                item = live(self._items.get(i), change.get(i))
                if item is None:
                    raise unknown_image(i)
                change.remove(item)
        self.refresh()

    def close(self) -> None:
        """Close the files, and let go of the model."""
        self._embed = _closed
        self._items.close()
        if self._additions is not None:
            self._additions.close()

    def _changeable(self) -> Additions:
        if self._additions is None:
            raise UdmlError(
                "this collection can't be changed: it is not a registered version",
                "`udml models register` and `udml models promote` make one; open models/champion",
            )
        return self._additions

    def _take_in(self, changed: Sequence[ChangedItem]) -> None:
        """Bring the rows up to date with changed items."""
        indexed = self._items.get_many([item.image_id for item in changed])
        self._rows.drop(item.image_id for item in changed)
        self._rows.unhide(item.image_id for item in changed)
        self._rows.hide(
            item.image_id
            for item in changed
            if item.state == State.REMOVED
            and item.image_id in indexed
            and speaks_of(item, indexed[item.image_id])
        )
        added = [i.image_id for i in changed if i.state == State.ADDED and i.image_id not in indexed]
        for ids, vectors in self._vectors_of_added(added):
            if ids:
                made = np.stack(vectors)
                self._rows.append(ids, made, mixtures_of_added(self.index, self._rows.overlay(0), made))

    def _vectors_of_added(self, image_ids: Sequence[int]) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Vectors of added images, first those that were kept, then those this model has still to make."""
        assert self._additions is not None
        model_version = self.index.info.model_version
        kept = self._additions.vectors(model_version, image_ids, self.index.info.dim)
        yield list(kept), list(kept.values())
        lacking = [i for i in image_ids if i not in kept]
        starts = range(0, len(lacking), _EMBEDDED_AT_ONCE)
        for start in progress(starts, "embed what was added", unit="batch") if lacking else starts:
            originals = {i: self._additions.original(i) for i in lacking[start : start + _EMBEDDED_AT_ONCE]}
            there = {i: data for i, data in originals.items() if data is not None}  # not removed meanwhile
            made = dict(zip(there, self._embed(list(there.values())), strict=True))
            for i, vector in made.items():
                if isinstance(vector, Undecodable):  # it could be when it was added
                    _log.warning("added image %d is not searched, it can't be decoded: %s", i, vector)
            vectors = {i: vector for i, vector in made.items() if isinstance(vector, np.ndarray)}
            if self._additions.is_writable:
                self._additions.store_vectors(model_version, vectors)
            yield list(vectors), list(vectors.values())


def _closed(_: Sequence["bytes | np.ndarray"]) -> list[np.ndarray | Undecodable]:
    raise UdmlError("this collection is closed", "open it again")


class _VectorsMissingError(Exception):
    """Undoes a change that could not be decided without vectors."""
