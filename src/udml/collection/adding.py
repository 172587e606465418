"""Whether a file is in a collection already, and how it gets in."""

import os
from collections.abc import Mapping
from itertools import chain, count

import numpy as np

from udml.collection.change import Change, ChangedItem, State
from udml.collection.outcome import Added, NewFile, Status, refused
from udml.data.identity import image_id
from udml.pixels import Undecodable
from udml.search.items import NOT_IN_DATA, IndexedItem, Item, Items

_MAX_SOURCE_LENGTH = 1024


def add_file(
    change: Change,
    items: Items,
    model_version: str,
    file: NewFile,
    sha256: str,
    vectors: Mapping[str, "np.ndarray | Undecodable"],
) -> Added | None:
    """Add one file to a collection; None if its vector is needed first.

    Args:
        change: an open change of the additions.
        items: of the index.
        model_version: of the model that made the vectors.
        file: what to add.
        sha256: of its bytes.
        vectors: by sha256, float32 [d] or why there is none; those made so far.
    """
    known = _with_content(change, items, sha256)
    for item in known:
        if live(items.get(item.image_id), change.get(item.image_id)):
            return Added(file.source, item.image_id, Status.PRESENT, name=item.source)
    own = image_id(file.source) if is_name(file.source) else None
    if known:  # it was removed
        item = next((item for item in known if item.image_id == own), known[0])
    elif own is None:
        return refused(file, "its name is empty, too long, or not valid Unicode")
    else:
        name = _free_name(change, items, file.source)
        item = Item(image_id(name), name, file.label, sha256, len(file.data))
    indexed = items.get(item.image_id)
    if indexed is None:
        vector = vectors.get(sha256)
        if vector is None:
            return None
        if isinstance(vector, Undecodable):
            return refused(file, str(vector))
        change.add_vector(item.image_id, model_version, vector)
    if indexed is None or indexed.data_shard == NOT_IN_DATA:
        change.add(item, file.data)
    else:
        change.restore(item)
    status = Status.RESTORED if known else Status.ADDED
    return Added(file.source, item.image_id, status, name=item.source)


def _free_name(change: Change, items: Items, source: str) -> str:
    """`source`, or the first of `photo-2.jpg`, `photo-3.jpg`, ... that no image has, or had.

    Phones and browsers call many photos the same.
    """
    stem, suffix = os.path.splitext(source)
    names = chain([source], (f"{stem}-{number}{suffix}" for number in count(2)))
    return next(name for name in names if not (change.get(image_id(name)) or items.get(image_id(name))))


def _with_content(change: Change, items: Items, sha256: str) -> list[Item]:
    """Every image of this content that is, or was, in the collection.

    An id that the index gives to another content (a file of that name was imported since) is its.
    """
    indexed: list[Item] = [*items.with_content(sha256)]
    own = {item.image_id for item in indexed}
    changed = [item for item in change.with_content(sha256) if item.image_id not in own]
    taken = items.get_many([item.image_id for item in changed])
    return indexed + [item for item in changed if item.image_id not in taken]


def live(indexed: IndexedItem | None, changed: ChangedItem | None) -> Item | None:
    """The image of one id if it is in the collection, from what the index and the additions say."""
    if indexed is not None:
        is_removed = changed is not None and speaks_of(changed, indexed) and changed.state == State.REMOVED
        return None if is_removed else indexed
    return changed if changed is not None and changed.state == State.ADDED else None


def speaks_of(changed: ChangedItem, indexed: IndexedItem) -> bool:
    """Whether both are the same content; a file of that name may have been imported with another one."""
    return changed.sha256 == indexed.sha256


def is_name(source: str) -> bool:
    """Whether an image may be called so."""
    return 0 < len(source) <= _MAX_SOURCE_LENGTH and not any("\ud800" <= c <= "\udfff" for c in source)
