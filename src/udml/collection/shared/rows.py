"""What stands in the rows: fields, and the way to items and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from udml.collection.change import State
from udml.collection.shared.connection import Connection, Row
from udml.search.items import IndexedItem

CHAMPION = "udml_champion"
CHANGES = "udml_changes"
VERSIONS = "udml_versions"
BUILDING = "udml_building_"
ADDED = -1  # the position of an image that no index holds
_LONGEST = 65_535  # bytes of a string: all that Milvus takes
ITEM_FIELDS = (
    "image_id", "source", "label", "sha256", "size_bytes", "position", "data_shard", "data_offset",
    "copy_of", "blob",
)  # fmt: skip
CHANGE_FIELDS = (*ITEM_FIELDS, "state", "stamp")
_TEXT = {"source", "label", "sha256", "blob", "state", "info"}
_SEARCHED = ("source", "sha256", "position", "copy_of", "stamp")


@dataclass(frozen=True)
class SharedItem(IndexedItem):
    """An image of a shared collection.

    Attributes:
        blob: name of its file among what was added; empty where its file is in the imported data.
    """

    blob: str = ""


@dataclass(frozen=True)
class SharedChange:
    """What became of an image, as it is now.

    Attributes:
        item: it.
        state: ADDED, or REMOVED.
        stamp: microseconds since 1970 by the clock of whoever changed it, and above all that it had seen.
    """

    item: SharedItem
    state: State
    stamp: int


def collection_name(version: str, manifest_sha256: str) -> str:
    """The collection of a version."""
    return f"udml_{version}_{manifest_sha256[:8]}"


def version_of(collection: str) -> tuple[str, str]:
    """Name of the version that a collection holds, and how the sha256 of its manifest begins."""
    _, version, manifest = collection.split("_")
    return version, manifest


def is_version(collection: str) -> bool:
    """Whether a collection is a version's."""
    return collection.startswith("udml_v") and collection != VERSIONS


def row_of(item: SharedItem) -> Row:
    """The row of an item, without its vectors."""
    row = {name: getattr(item, name) for name in ITEM_FIELDS}
    row["copy_of"] = item.image_id if item.copy_of is None else item.copy_of
    return {name: _text(value) if isinstance(value, str) else value for name, value in row.items()}


def item_of(row: Mapping[str, Any]) -> SharedItem:
    """The item of a row."""
    values = {name: row[name] for name in ITEM_FIELDS}
    values["copy_of"] = None if row["copy_of"] == row["image_id"] else row["copy_of"]
    return SharedItem(**values)


def change_row(change: SharedChange) -> Row:
    """The row of a change."""
    return {**row_of(change.item), "state": str(change.state), "stamp": change.stamp, "nothing": [0.0, 0.0]}


def change_of(row: Mapping[str, Any]) -> SharedChange:
    """The change in a row."""
    return SharedChange(item_of(row), State(row["state"]), row["stamp"])


def vector_of(row: Mapping[str, Any], field: str) -> np.ndarray:
    """A vector of a row, float32 [d]."""
    return np.asarray(row[field], np.float32)


def make_collection(
    connection: Connection, name: str, fields: tuple[str, ...], vectors: dict[str, int], index: dict[str, Any]
) -> None:
    """Make a collection, and its indexes.

    Args:
        connection: to Milvus.
        name: of the collection.
        fields: the first is the primary key.
        vectors: their lengths, by name.
        index: what Milvus is told of the index of each vector.
    """
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    for place, field in enumerate(fields):
        if field in _TEXT:
            schema.add_field(
                field, DataType.VARCHAR, max_length=_LONGEST, is_primary=place == 0, nullable=field == "label"
            )
        else:
            schema.add_field(field, DataType.INT64, is_primary=place == 0)
    indexes = MilvusClient.prepare_index_params()
    for vector, dim in vectors.items():
        schema.add_field(vector, DataType.FLOAT_VECTOR, dim=dim)
        indexes.add_index(
            vector, **(index if vector == "vector" else {"index_type": "FLAT"}), metric_type="IP"
        )
    for field in set(fields) & set(_SEARCHED):
        indexes.add_index(field, index_type="INVERTED")
    connection.ask("create_collection", name, schema=schema, consistency_level="Strong", long=True)
    connection.ask("create_index", name, indexes, sync=False, long=True)  # loading waits for them


def make_tables(connection: Connection) -> None:
    """Make what is not any version's, unless it is there: whole, like a version's."""
    there = set(connection.ask("list_collections"))
    for name, fields in ((CHANGES, CHANGE_FIELDS), (VERSIONS, ("source", "info"))):
        if name not in there:
            make_collection(connection, BUILDING + name, fields, {"nothing": 2}, {"index_type": "FLAT"})
            connection.ask("load_collection", BUILDING + name, long=True)
            connection.rename(BUILDING + name, name)


def _text(value: str) -> str:
    """As UTF-8 takes it."""
    return value.encode("utf-8", "backslashreplace").decode()
