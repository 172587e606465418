"""What is to become of files that are added: which are there, which are new, and under what name.

The id of an added image follows from its content, not from its name as in an import: two services that are
given the same file at once mean the same image, and two files of one name, different ones.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, count

import numpy as np

from udml.collection.adding import is_name
from udml.collection.change import State
from udml.collection.outcome import Added, NewFile, Status, refused
from udml.collection.shared import changes
from udml.collection.shared.rows import ADDED, CHANGES, ITEM_FIELDS, SharedChange, SharedItem, item_of
from udml.collection.shared.settling import Settler
from udml.data.identity import image_id
from udml.pixels import Undecodable
from udml.search.items import NOT_IN_DATA

_NAMES_AT_ONCE = 20
Known = Mapping[str, tuple[SharedItem, SharedChange | None]]


def add_files(
    settler: Settler, files: Sequence[NewFile], revision: int
) -> tuple[list[Added], list[SharedChange], dict[int, np.ndarray]]:
    """Decide on files, embed and keep the new ones.

    Args:
        settler: of the version.
        files: to be added.
        revision: the latest change that is known of.

    Returns:
        What came of each file; the changes that make it so, settled already or not; and the vectors,
        float32 [d], of those that are still to be written, by image_id.
    """
    hashed = [(file, hashlib.sha256(file.data).hexdigest()) for file in files]
    known = _known(settler, {sha256 for _, sha256 in hashed})
    told = {sha256: change for sha256, (_, change) in known.items() if change and _is_live(known, sha256)}
    new = {sha256: file for file, sha256 in hashed if not _is_live(known, sha256)}
    made = dict(zip(new, settler.embed([_wanted(file) for file in new.values()]), strict=True)) if new else {}
    stamp = changes.next_stamp(revision)
    added: list[Added] = []
    vectors: dict[int, np.ndarray] = {}
    for file, sha256 in hashed:
        if _is_live(known, sha256) or sha256 in told:
            item = told[sha256].item if sha256 in told else known[sha256][0]
            added.append(Added(file.source, item.image_id, Status.PRESENT, name=item.source))
        elif sha256 not in known and not is_name(file.source):
            added.append(refused(file, "its name is empty, too long, or not valid Unicode"))
        elif isinstance(vector := made[sha256], Undecodable):
            added.append(refused(file, str(vector)))
        else:
            item = _kept(settler, file, sha256, known, {one.item.source for one in told.values()})
            told[sha256] = SharedChange(item, State.ADDED, stamp)
            vectors[item.image_id] = vector
            status = Status.RESTORED if sha256 in known else Status.ADDED
            added.append(Added(file.source, item.image_id, status, name=item.source))
    return added, list(told.values()), vectors


def _known(settler: Settler, sha256s: set[str]) -> Known:
    """What is, or was, in the collection of these contents, and what became of it."""
    place = settler.place
    every = changes.of_contents(place.connection, sha256s)
    told = {one.item.sha256: one for one in sorted(every, key=lambda one: one.state == State.ADDED)}
    rows = place.connection.where(place.name, "sha256", sorted(sha256s), ITEM_FIELDS)
    there = {row["sha256"]: item_of(row) for row in rows}
    found: dict[str, tuple[SharedItem, SharedChange | None]] = {
        sha256: (one.item, one) for sha256, one in told.items()
    }
    for sha256, item in there.items():
        one = told.get(sha256)
        is_same = one is not None and one.item.image_id == item.image_id
        found[sha256] = (item, one if is_same else None)
    return found


def _is_live(known: Known, sha256: str) -> bool:
    """Whether an image of this content is in the collection, or on its way into this version's."""
    if sha256 not in known:
        return False
    change = known[sha256][1]
    return change is None or change.state == State.ADDED


def _kept(settler: Settler, file: NewFile, sha256: str, known: Known, taken: set[str]) -> SharedItem:
    """The item of a file that is to be added; its bytes are kept."""
    if sha256 in known:
        item = known[sha256][0]
        in_data = item.data_shard != NOT_IN_DATA
        return item if in_data else replace(item, blob=settler.files.put(file.data))
    name = _free_name(settler, file.source, taken)
    blob = settler.files.put(file.data)
    place = (ADDED, NOT_IN_DATA, NOT_IN_DATA, None)
    return SharedItem(image_id(sha256), name, file.label, sha256, len(file.data), *place, blob)


def _free_name(settler: Settler, source: str, taken: set[str]) -> str:
    """`source`, or the first of `photo-2.jpg`, `photo-3.jpg`, ... that no image has, or had.

    Two services that add at the same moment may give one name twice; nothing but people goes by names.
    """
    place = settler.place
    stem, suffix = os.path.splitext(source)
    names = chain([source], (f"{stem}-{number}{suffix}" for number in count(2)))
    while True:
        some = [next(names) for _ in range(_NAMES_AT_ONCE)]
        used = set(taken)
        for collection in (place.name, CHANGES):
            used |= {row["source"] for row in place.connection.where(collection, "source", some, ["source"])}
        for name in some:
            if name not in used:
                return name


def _wanted(file: NewFile) -> "bytes | np.ndarray":
    return file.data if file.pixels is None else file.pixels
