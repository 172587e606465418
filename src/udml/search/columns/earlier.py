"""The columns of an index that was built before there were columns: what its items say."""

from contextlib import closing
from pathlib import Path

from udml.data.identity import folder_of
from udml.search.columns.columns import Columns, Value, columns_of
from udml.search.items import ITEMS_FILE, Items


def columns_of_items(directory: Path) -> Columns:
    """Folders and labels of an index's images, by position; of none it is known when it was taken.

    Raises:
        UdmlError: if the item list is missing or damaged.
    """
    with closing(Items(directory / ITEMS_FILE)) as items:
        rows: list[dict[str, Value]] = [{} for _ in range(len(items))]
        for item in items:
            rows[item.position] = {"folder": folder_of(item.source), "label": item.label}
    return columns_of(rows)
