"""Bring a version into Milvus, and make it the one that serves.

It is built under another name and gets its own when it is whole; a push that was killed leaves what
the next one throws away. The alias moves last, in one step.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np

from udml.collection.additions import Additions
from udml.collection.change import ChangedItem, State
from udml.collection.shared import changes
from udml.collection.shared.connection import Connection, Row
from udml.collection.shared.files import Files
from udml.collection.shared.rows import (
    ADDED,
    BUILDING,
    CHAMPION,
    ITEM_FIELDS,
    VERSIONS,
    SharedChange,
    SharedItem,
    make_collection,
    make_tables,
    row_of,
)
from udml.errors import UdmlError
from udml.progress import progress
from udml.search.gallery import GalleryIndex, IndexInfo
from udml.search.items import NOT_IN_DATA, IndexedItem, Items

_ROWS_AT_ONCE = 1000  # of 4 kB at a length of 512, with mixtures: gRPC takes 64 MB
_LINKS, _EF_CONSTRUCTION = 32, 200  # as `search.build` has them


def start(connection: Connection, info: IndexInfo) -> str:
    """Make an empty collection for a version, and throw away what killed pushes left; returns its name."""
    for name in connection.ask("list_collections"):
        if name.startswith(BUILDING):
            connection.ask("drop_collection", name)
    make_tables(connection)
    building = BUILDING + uuid.uuid4().hex[:12]
    vectors = {"vector": info.dim} | ({"mixed": info.dim} if info.mixed_neighbours else {})
    index = (
        {"index_type": "FLAT"}
        if info.kind == "flat"
        else {"index_type": "HNSW", "params": {"M": _LINKS, "efConstruction": _EF_CONSTRUCTION}}
    )
    make_collection(connection, building, ITEM_FIELDS, vectors, index)
    return building


def upload(connection: Connection, building: str, index: GalleryIndex, items: Items) -> None:
    """Write every image of an index into a collection: plain and mixed vectors, and what is behind them."""
    starts = range(0, index.info.count, _ROWS_AT_ONCE)
    for first in progress(starts, "push", unit="batch"):
        positions = np.arange(first, min(index.info.count, first + _ROWS_AT_ONCE))
        connection.ask("upsert", building, list(_rows(index, items, positions)), long=True)
    connection.ask("flush", building, long=True)
    connection.ask("load_collection", building, long=True)


def finish(connection: Connection, building: str, name: str, info: IndexInfo) -> None:
    """Give a whole collection its name."""
    told = json.dumps(asdict(replace(info, files={})))
    connection.ask("upsert", VERSIONS, [{"source": name, "info": told, "nothing": [0.0, 0.0]}])
    connection.rename(building, name)


def move_alias(connection: Connection, name: str) -> None:
    """Make a version's collection the one that serves, for all services at once."""
    before = connection.behind(CHAMPION)
    if before == name:
        return
    connection.ask("load_collection", name, long=True)
    method = "create_alias" if before is None else "alter_alias"
    connection.ask_once(lambda: connection.behind(CHAMPION) == name, method, name, CHAMPION)


def read_info(connection: Connection, name: str) -> IndexInfo:
    """What the index that a collection was pushed from says of itself."""
    found = connection.rows(VERSIONS, [name], ["info"])
    if not found:
        raise UdmlError(f"{connection.uri} does not say what {name} is", "`udml index push` says it again")
    return IndexInfo(**json.loads(found[0]["info"]))


def take_over(connection: Connection, additions: Additions, files: Files, items: Items) -> None:
    """Write what was added and removed in SQLite among the changes, unless they know of it."""
    _, changed = additions.changes(0)
    known = {change.item.image_id for change in changes.of_images(connection, [c.image_id for c in changed])}
    for item in progress([c for c in changed if c.image_id not in known], "take over", unit="image"):
        if item.state == State.RESTORED:  # as if it had never been removed
            continue
        original = additions.original(item.image_id) if item.state == State.ADDED else None
        if item.state == State.ADDED and original is None:
            continue
        taken = _taken_over(item, "" if original is None else files.put(original))
        indexed = items.get(item.image_id)
        if indexed is not None and indexed.sha256 == item.sha256 and item.state == State.REMOVED:
            taken = SharedItem(**vars(indexed))
        changes.put(connection, [SharedChange(taken, item.state, changes.next_stamp(0))])


def _taken_over(item: ChangedItem, blob: str) -> SharedItem:
    place = (ADDED, NOT_IN_DATA, NOT_IN_DATA, None)
    return SharedItem(item.image_id, item.source, item.label, item.sha256, item.size_bytes, *place, blob)


def _rows(index: GalleryIndex, items: Items, positions: np.ndarray) -> Iterator[Row]:
    ids = index.ids[positions].tolist()
    found: dict[int, IndexedItem] = items.get_many(ids)
    plain = index.base.reconstruct_batch(positions) if index.exact is None else index.exact[positions]
    mixed = None if index.mixed is None else np.asarray(index.mixed[positions], np.float32)
    for place, image_id in enumerate(ids):
        row = row_of(SharedItem(**vars(found[image_id]))) | {"vector": plain[place]}
        yield row if mixed is None else row | {"mixed": mixed[place]}
