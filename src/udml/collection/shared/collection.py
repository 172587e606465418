"""A version's images in Milvus, open for searches and changes; any number of services may have it open.

A change is written three times: the file of an added image, then what became of the image, then the
version's row of it. The second of these decides: a change that was interrupted before it has not happened,
one that was interrupted after it is finished by whoever opens the version next, or looks within a second.
"""

import hashlib
import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from udml.collection.change import State
from udml.collection.outcome import Added, GoneError, NewFile, unknown_image
from udml.collection.shared import changes
from udml.collection.shared.adding import add_files
from udml.collection.shared.connection import AT_ONCE, MOST_FOUND, Connection
from udml.collection.shared.files import Files
from udml.collection.shared.filtering.among import search_among
from udml.collection.shared.filtering.chosen import SharedChosen, SharedFilters
from udml.collection.shared.filtering.facts import forget_facts
from udml.collection.shared.rows import ADDED, ITEM_FIELDS, SharedChange, SharedItem, is_version, item_of
from udml.collection.shared.searching import Place, Search, search_by_neighbourhoods, search_plain
from udml.collection.shared.settling import Embed, Settler, erase, read, settle
from udml.errors import UdmlError
from udml.search.columns import Kind
from udml.search.gallery import IndexInfo
from udml.search.items import Item
from udml.text import printable

_LOOK_SECONDS = 1.0
_OVERLAP_MICROSECONDS = 60_000_000  # by which clocks of services may differ
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SharedSeen:
    """What is known of the changes; searches see later ones too."""

    revision: int


class SharedCollection:
    """See `udml.collection.contract`; methods that are not explained here are explained there."""

    def __init__(
        self, connection: Connection, name: str, info: IndexInfo, files: Files, embed: Embed
    ) -> None:
        """Open a collection that was pushed, and embed what was added that it lacks.

        Args:
            connection: to Milvus; closed with this.
            name: of the collection, not an alias: that may move.
            info: what its index says of itself.
            files: where originals are.
            embed: gives the version's model's vectors for files.
        """
        self.info = info
        self._connection = connection
        self._files = files
        self._place = Place(connection, name, info)
        self._settler = Settler(self._place, files, embed, self.original)
        self._filters = SharedFilters(connection, name, self.original)
        self._revision = 0
        self._settled: dict[int, int] = {}  # stamps of late changes, by image
        self._closing = threading.Event()
        self.settle_since(0)
        self._follower = threading.Thread(target=self._follow, name=f"changes of {name}", daemon=True)
        self._follower.start()

    def __len__(self) -> int:
        return self._connection.count(self._place.name)

    # --- reading ----------------------------------------------------------------------------------

    def refresh(self) -> SharedSeen:
        """What is known of the changes."""
        return SharedSeen(self._revision)

    def columns(self) -> dict[str, Kind]:
        """What filters may ask for, by name; nothing of a version pushed before there were filters."""
        return self._filters.columns()

    def choose(self, where: str) -> SharedChosen:
        """The images that meet a filter, what any service was told is changed taken in; see `contract`."""
        self._settle_latest()
        return self._filters.choose(where)

    def search(
        self, queries: np.ndarray, k: int, among: SharedChosen | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest images of each query, best first; see `contract`."""
        return self._search_of(among)(self._place, queries, k)

    def search_refined(
        self, queries: np.ndarray, k: int, lowest: float = -np.inf, among: SharedChosen | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `search`, in the order of neighbourhoods."""
        return search_by_neighbourhoods(self._place, queries, k, lowest, self._search_of(among))

    def items(self, image_ids: Iterable[int]) -> dict[int, Item]:
        """What is behind ids that a search has found."""
        wanted = list(set(image_ids))
        found: dict[int, Item] = {}
        found |= self._items(wanted)
        gone = [one for one in wanted if one not in found]
        return found | {c.item.image_id: c.item for c in changes.of_images(self._connection, gone)}

    def item(self, image_id: int) -> Item:
        """The image of this id."""
        return self._item(image_id)

    def vector(self, image_id: int) -> np.ndarray:
        """The vector of an image."""
        found = self._place.vectors([image_id])[0].get(image_id)
        if found is None:
            raise unknown_image(image_id)
        return found

    def vectors(self, image_ids: Sequence[int]) -> np.ndarray:
        """The vectors of images that a search has found."""
        found = self._place.vectors(list(set(image_ids)))[0]
        nothing = np.zeros(self.info.dim, np.float32)
        return np.stack([found.get(one, nothing) for one in image_ids])

    def sample(self, at_most: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Images spread evenly over the index, then added ones."""
        images = len(self)
        if images <= MOST_FOUND:
            ids = self._all_ids()
            ids = ids[np.unique(np.linspace(0, len(ids) - 1, min(at_most, len(ids))).round().astype(int))]
        else:
            wanted = np.unique(np.linspace(0, self.info.count - 1, at_most).round().astype(int)).tolist()
            rows = self._connection.where(self._place.name, "position", wanted, ["image_id", "position"])
            ids = _in_order(rows)
        return (
            ids,
            self.vectors(ids.tolist()) if len(ids) else np.zeros((0, self.info.dim), np.float32),
            images,
        )

    def original(self, image_id: int) -> bytes:
        """The bytes of an image's file."""
        item = self._item(image_id)
        data = read(self._files, item)
        if data is None:  # of an index that was compacted, the changes know where it is
            told = changes.of_images(self._connection, [image_id])
            data = read(self._files, told[0].item) if told else None
        if data is None or hashlib.sha256(data).hexdigest() != item.sha256:
            raise GoneError(
                f"the original of image {image_id:016x} ({printable(item.source)}) is not there",
                "bring back the data it was indexed with",
            )
        return data

    # --- changing ---------------------------------------------------------------------------------

    def add(self, files: Sequence[NewFile]) -> list[Added]:
        """Put files into the collection. Their ids follow from their content."""
        added, told, vectors = add_files(self._settler, files, self._revision)
        changes.put(self._connection, [one for one in told if one.item.image_id in vectors])
        self._seen(told, settle(self._settler, told, vectors))
        return added

    def remove(self, image_ids: Sequence[int]) -> None:
        """Take images out of the collection, and of those of all other versions."""
        wanted = list(dict.fromkeys(image_ids))
        there = self._items(wanted)
        for one in wanted:
            if one not in there:
                raise unknown_image(one)
        items = [there[one] for one in wanted]
        stamp = changes.next_stamp(self._revision)
        told = [SharedChange(item, State.REMOVED, stamp) for item in items]
        changes.put(self._connection, told)
        for name in filter(is_version, self._connection.ask("list_collections")):
            if name != self._place.name:
                erase(self._place, items, name)
        self._seen(told, settle(self._settler, told))
        for item in items:
            if item.blob:
                self._files.forget(item.blob)
        forget_facts(self._connection, [item.image_id for item in items if item.blob])

    def settle_since(self, stamp: int) -> None:
        """Take in all changes from a stamp on that were not."""
        for told in changes.since(self._connection, stamp):
            new = [one for one in told if self._settled.get(one.item.image_id) != one.stamp]
            self._seen(new, settle(self._settler, new))

    def close(self) -> None:
        """Let go of the connection and the model."""
        self._closing.set()
        self._follower.join()
        self._connection.close()

    def _follow(self) -> None:
        """Look for changes that services of other versions have made, and what killed ones left undone."""
        while not self._closing.wait(_LOOK_SECONDS):
            try:
                self._settle_latest()
            except UdmlError:  # whoever asks for something is told; the next look takes it in
                continue

    def _settle_latest(self) -> None:
        self.settle_since(max(0, self._revision - _OVERLAP_MICROSECONDS))

    def _search_of(self, among: SharedChosen | None) -> Search:
        return search_plain if among is None else partial(search_among, among)

    def _seen(self, told: Sequence[SharedChange], latest: int) -> None:
        self._revision = max(self._revision, latest)
        self._settled |= {one.item.image_id: one.stamp for one in told}
        self._filters.told(one.item.image_id for one in told)
        if len(self._settled) > 2 * AT_ONCE:
            old = self._revision - 2 * _OVERLAP_MICROSECONDS
            self._settled = {one: stamp for one, stamp in self._settled.items() if stamp > old}

    def _items(self, image_ids: Sequence[int]) -> dict[int, SharedItem]:
        rows = self._connection.rows(self._place.name, image_ids, ITEM_FIELDS)
        return {row["image_id"]: item_of(row) for row in rows}

    def _item(self, image_id: int) -> SharedItem:
        item = self._items([image_id]).get(image_id)
        if item is None:
            raise unknown_image(image_id)
        return item

    def _all_ids(self) -> np.ndarray:
        every = self._connection.every(self._place.name, "", ["image_id", "position"])
        return _in_order([row for rows in every for row in rows])


class SharedGroups:
    """Which images show the same: every row says it of its own."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    def firsts(self, image_ids: Iterable[int], _: object) -> dict[int, int]:
        """See `contract`."""
        wanted = list(image_ids)
        rows = self._connection.rows(self._name, wanted, ["image_id", "copy_of"])
        return dict(zip(wanted, wanted, strict=True)) | {row["image_id"]: row["copy_of"] for row in rows}

    def members(self, firsts: Iterable[int], _: object) -> dict[int, int]:
        """See `contract`."""
        rows = self._connection.where(self._name, "copy_of", list(firsts), ["image_id", "copy_of"])
        return {row["image_id"]: row["copy_of"] for row in rows}


def _in_order(rows: Sequence[dict[str, int]]) -> np.ndarray:
    """Ids in the order of the index, then of what was added, int64 [n]."""
    last = np.iinfo(np.int64).max
    ordered = sorted((last if row["position"] == ADDED else row["position"], row["image_id"]) for row in rows)
    return np.array([image_id for _, image_id in ordered], np.int64)
