"""What is known of added images besides their pixels, by columns, as of those of an index."""

import threading

import numpy as np

from udml.collection.additions import Additions
from udml.collection.overlay import Overlay
from udml.data.identity import folder_of
from udml.formats.exif import NOTHING
from udml.search.columns import Columns, Value, columns_of, joined, take


class AddedColumns:
    """The columns of what lies over an index; may be used from several threads.

    They are those that `udml.search.columns.OWN` names: an image that is added comes without a manifest.
    """

    def __init__(self, additions: Additions | None) -> None:
        """Nothing is read yet."""
        self._additions = additions
        self._lock = threading.Lock()
        self._ids, self._columns = np.empty(0, np.int64), columns_of([])

    def of(self, overlay: Overlay) -> Columns:
        """The columns of an overlay's images, [len(overlay.ids)], in their order.

        What was known of images of the overlay before is kept, and nothing of those that were removed.
        """
        with self._lock:
            stay = np.flatnonzero(np.isin(self._ids, overlay.ids))
            before = self._ids[stay]
            if not np.array_equal(before, overlay.ids[: len(before)]):  # an older overlay than the last one
                stay, before = stay[:0], before[:0]
            new = overlay.ids[len(before) :].tolist()
            made = columns_of(self._rows(new))
            self._columns = joined([(take(self._columns, stay), len(stay)), (made, len(new))])
            self._ids = overlay.ids
            return self._columns

    def _rows(self, image_ids: list[int]) -> list[dict[str, Value]]:
        if self._additions is None or not image_ids:
            return []
        facts, rows = self._additions.facts(image_ids), []
        for i in image_ids:
            item, said = self._additions.get(i), facts.get(i, NOTHING)
            own: dict[str, Value] = {"taken": said.taken, "camera": said.camera}
            rows.append(
                own if item is None else own | {"folder": folder_of(item.source), "label": item.label}
            )
        return rows
