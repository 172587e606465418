"""The images of a version in Milvus that meet a filter, as all services have left the collection."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from udml.collection.filtering.chosen import keep_latest
from udml.collection.filtering.expression import Expression, FilterError
from udml.collection.filtering.masks import mask_of, tree_of
from udml.collection.shared.connection import Connection
from udml.collection.shared.filtering.columns import Indexed, kinds_of, read_columns
from udml.collection.shared.filtering.facts import get_facts, put_facts
from udml.data.identity import folder_of
from udml.errors import StoreLostError, UdmlError
from udml.formats.exif import NOTHING, Facts, facts_of
from udml.search.columns import Columns, Kind, Value, columns_of

NO_COLUMNS = FilterError(
    "this version was brought to Milvus before there were filters", "`udml index push` brings what they ask"
)


@dataclass(frozen=True, eq=False)
class SharedChosen:
    """Images of a collection that met a filter when it was asked.

    Attributes:
        ids: int64 [m], in the order they were indexed, then of their ids.
    """

    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def ascending(self) -> np.ndarray:
        """Their ids, int64 [m]."""
        return np.sort(self.ids)

    def spread(self, at_most: int) -> list[int]:
        """See `contract`."""
        rows = np.linspace(0, len(self) - 1, min(at_most, len(self))).round().astype(np.int64)
        found: list[int] = self.ids[np.unique(rows)].tolist()
        return found

    def holds(self, image_ids: Sequence[int]) -> set[int]:
        """See `contract`."""
        ids = np.array(image_ids, np.int64)
        return set(ids[self.mask(ids)].tolist())

    def mask(self, image_ids: np.ndarray) -> np.ndarray:
        """Which of these images are among them: bool, of the shape of `image_ids`."""
        if not len(self):
            return np.zeros(image_ids.shape, bool)
        at = np.minimum(np.searchsorted(self.ascending, image_ids), len(self) - 1)
        found: np.ndarray = self.ascending[at] == image_ids
        return found


@dataclass(frozen=True, eq=False)
class _Changed:
    """What changes have made of the indexed images; never changes itself.

    Attributes:
        names: source and label of every changed image that is in the collection, None of one that is not.
        added: ids of those that no index holds, int64 [a], ascending.
        columns: theirs, [a].
    """

    names: dict[int, tuple[str, str | None] | None]
    added: np.ndarray
    columns: Columns


class SharedFilters:
    """Makes what filters choose of one version's collection; may be used from several threads."""

    def __init__(self, connection: Connection, name: str, original: Callable[[int], bytes]) -> None:
        """Nothing is read before somebody asks.

        Args:
            connection: to Milvus.
            name: of the collection.
            original: gives the file of an image, to read what nobody kept of it.
        """
        self._connection = connection
        self._name = name
        self._original = original
        self._lock = threading.Lock()
        self._kinds: dict[str, Kind] | None = None
        self._indexed: Indexed | None = None
        self._pending: set[int] = set()
        self._changed = _Changed({}, np.empty(0, np.int64), columns_of([]))
        self._facts: dict[int, Facts] = {}
        self._masks: OrderedDict[Expression, np.ndarray] = OrderedDict()

    def columns(self) -> dict[str, Kind]:
        """What filters may ask for, by name."""
        if self._kinds is None:
            self._kinds = kinds_of(self._connection, self._name)
        return dict(self._kinds or {})

    def told(self, image_ids: Iterable[int]) -> None:
        """These images were changed, and their rows say so."""
        self._pending.update(image_ids)  # by many threads: one step

    def choose(self, where: str) -> SharedChosen:
        """The images that meet a filter, of those that changes which were told have left.

        Raises:
            FilterError: if it is none, or does not fit the columns.
            BusyError: if whoever asked waits no more.
        """
        with self._lock:
            self._indexed = indexed = self._indexed or read_columns(self._connection, self._name)
            if indexed is None:
                raise NO_COLUMNS
            tree = tree_of(where, indexed.columns)
            changed = self._look(indexed)
            mask = self._mask_of_index(tree, indexed)
        gone = np.array([i for i, name in changed.names.items() if name is None], np.int64)
        if len(gone):
            mask = mask & ~np.isin(indexed.ids, gone)
        met = mask_of(tree, changed.columns, len(changed.added))
        return SharedChosen(np.concatenate([indexed.ids[mask], changed.added[met]]))

    def _mask_of_index(self, tree: Expression, indexed: Indexed) -> np.ndarray:
        """Which indexed images meet it, removed or not: the same for ever."""
        if tree not in self._masks:
            keep_latest(self._masks, tree, mask_of(tree, indexed.columns, len(indexed.ids)))
        self._masks.move_to_end(tree)
        return self._masks[tree]

    def _look(self, indexed: Indexed) -> _Changed:
        """Take in what was told."""
        if pending := self._pending.copy():
            self._pending.difference_update(pending)  # first: what is told while rows are read counts anew
            try:
                self._changed = self._changed_by(pending, indexed)
            except BaseException:
                self._pending.update(pending)
                raise
        return self._changed

    def _changed_by(self, image_ids: set[int], indexed: Indexed) -> _Changed:
        rows = self._connection.rows(self._name, sorted(image_ids), ["image_id", "source", "label"])
        there = {row["image_id"]: (row["source"], row["label"]) for row in rows}
        names = self._changed.names | {i: there.get(i) for i in image_ids}
        live = np.array(sorted(i for i, name in names.items() if name is not None), np.int64)
        added = np.setdiff1d(live, indexed.ids)
        return _Changed(names, added, self._columns_of(added, names))

    def _columns_of(self, added: np.ndarray, names: dict[int, tuple[str, str | None] | None]) -> Columns:
        ids: list[int] = added.tolist()
        self._facts = {i: self._facts[i] for i in ids if i in self._facts}
        self._facts |= self._facts_of([i for i in ids if i not in self._facts])
        rows: list[dict[str, Value]] = []
        for i in ids:
            source, label = names[i] or ("", None)
            facts = self._facts[i]
            own: dict[str, Value] = {"taken": facts.taken, "camera": facts.camera}
            rows.append(own | {"folder": folder_of(source), "label": label})
        return columns_of(rows)

    def _facts_of(self, image_ids: Sequence[int]) -> dict[int, Facts]:
        """What images' files say; of those that were added before that was kept, it is read and kept now."""
        kept = get_facts(self._connection, image_ids)
        read: dict[int, Facts] = {}
        for one in [i for i in image_ids if i not in kept]:
            try:
                read[one] = facts_of(self._original(one))
            except StoreLostError:
                raise
            except UdmlError:  # its file is not here: it is found all the same
                read[one] = NOTHING
        put_facts(self._connection, {i: facts for i, facts in read.items() if facts is not NOTHING})
        return kept | read
