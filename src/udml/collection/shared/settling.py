"""Bringing a version's rows in line with what was added and removed.

Whoever changes something writes the change first, then settles it; whoever opens a version settles all
changes before it serves. To settle twice, or by two at once, does no harm: the same rows come of it. Each
looks at the changes again after it has written rows, so that of two who change the same image at once, the
last one finds what the other has done.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from udml.collection.change import State
from udml.collection.copies import near_duplicates
from udml.collection.shared import changes
from udml.collection.shared.connection import Row
from udml.collection.shared.files import Files
from udml.collection.shared.filtering.facts import put_facts
from udml.collection.shared.rows import ADDED, SharedChange, SharedItem, row_of
from udml.collection.shared.searching import Place, around
from udml.formats.exif import facts_of
from udml.pixels import Undecodable
from udml.search.items import NOT_IN_DATA

Embed = Callable[[Sequence["bytes | np.ndarray"]], list["np.ndarray | Undecodable"]]
_NEAR = 0.9  # as `collection.copies` has them
_CANDIDATES = 6
_TURNS = 5  # of looking again; more than one is rare
_EMBEDDED_AT_ONCE = 64
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settler:
    """What settling needs.

    Attributes:
        place: the version's collection.
        files: where originals are.
        embed: gives the version's model's vectors for files.
        original: the bytes of an image that is in the collection.
    """

    place: Place
    files: Files
    embed: Embed
    original: Callable[[int], bytes]


def settle(
    settler: Settler, told: Sequence[SharedChange], made: Mapping[int, np.ndarray] | None = None
) -> int:
    """Make rows say what changes say.

    Args:
        settler: of one version.
        told: the changes, each of another image.
        made: vectors of added images, where they were made already.

    Returns:
        The latest stamp among them.
    """
    latest = 0
    for _ in range(_TURNS):
        if not told:
            break
        latest = max(latest, *(change.stamp for change in told))
        erase(settler.place, [one.item for one in told if one.state == State.REMOVED])
        _put(settler, _lacking(settler.place, told), made or {})
        now = changes.of_images(settler.place.connection, [one.item.image_id for one in told])
        before = {one.item.image_id: one.stamp for one in told}
        told = [one for one in now if one.stamp != before[one.item.image_id]]
    return latest


def erase(place: Place, items: Sequence[SharedItem], collection: str | None = None) -> None:
    """Take rows of these images out of a collection, default that of `place`; others of their ids stay."""
    name = collection or place.name
    sha256s = {item.image_id: item.sha256 for item in items}
    rows = place.connection.rows(name, list(sha256s), ["image_id", "sha256"])
    gone = [row["image_id"] for row in rows if row["sha256"] == sha256s[row["image_id"]]]
    if gone:
        place.connection.ask("delete", name, ids=gone)


def _lacking(place: Place, told: Sequence[SharedChange]) -> list[SharedItem]:
    """Added images that have no row, nor has another image of the same content."""
    added = [one.item for one in told if one.state == State.ADDED]
    sha256s = [item.sha256 for item in added]
    there = {row["sha256"] for row in place.connection.where(place.name, "sha256", sha256s, ["sha256"])}
    return [item for item in added if item.sha256 not in there]


def _put(settler: Settler, items: Sequence[SharedItem], made: Mapping[int, np.ndarray]) -> None:
    """Write rows of images that have none; what can't be embedded any more is left out with a word."""
    for start in range(0, len(items), _EMBEDDED_AT_ONCE):
        some = items[start : start + _EMBEDDED_AT_ONCE]
        found = {item.image_id: read(settler.files, item) for item in some}
        for image_id in [one for one, data in found.items() if data is None]:
            _log.warning("added image %d is not searched, its file is not there", image_id)
        data = {one: there for one, there in found.items() if there is not None}
        lacking = {one: there for one, there in data.items() if one not in made}
        new = dict(zip(lacking, settler.embed(list(lacking.values())), strict=True)) if lacking else {}
        vectors: dict[int, np.ndarray] = {}
        for one in data:
            vector = made[one] if one in made else new[one]
            if isinstance(vector, Undecodable):  # it could be when it was added
                _log.warning("added image %d is not searched, it can't be decoded: %s", one, vector)
            else:
                vectors[one] = vector
        rows = _rows(settler, [item for item in some if item.image_id in vectors], vectors, data)
        if rows:
            put_facts(settler.place.connection, {one: facts_of(data[one]) for one in vectors})
            settler.place.connection.ask("upsert", settler.place.name, rows)


def read(files: Files, item: SharedItem) -> bytes | None:
    """The file of an image; None where it is not there."""
    if item.blob:
        return files.added(item.blob)
    if item.data_shard == NOT_IN_DATA:
        return None
    place = (item.data_shard, item.data_offset, item.size_bytes)
    return files.imported(item.image_id, *place, item.sha256)


def _rows(
    settler: Settler,
    items: Sequence[SharedItem],
    vectors: Mapping[int, np.ndarray],
    data: Mapping[int, bytes],
) -> list[Row]:
    """Rows of new images: each mixed with what was there, and in the group of what it is a copy of."""
    if not items:
        return []
    stacked = np.stack([vectors[item.image_id] for item in items])
    near = around(settler.place, stacked)
    firsts = _firsts(settler, near.ids)
    same = near_duplicates(lambda one: data[one] if one in data else settler.original(one))
    rows = []
    for number, item in enumerate(items):
        candidates = near.ids[number][near.similarity[number] > _NEAR][:_CANDIDATES].tolist()
        earlier = [
            items[int(row)].image_id for row in np.flatnonzero(stacked[:number] @ stacked[number] > _NEAR)
        ]
        like = next((one for one in (*candidates, *earlier) if same(item.image_id, one)), item.image_id)
        firsts[item.image_id] = firsts.get(like, item.image_id)
        row = row_of(replace(item, position=ADDED, copy_of=firsts[item.image_id]))
        row["vector"] = vectors[item.image_id]
        rows.append(row | ({"mixed": near.mixed[number]} if settler.place.info.mixed_neighbours else {}))
    return rows


def _firsts(settler: Settler, ids: np.ndarray) -> dict[int, int]:
    """The first images of the groups that these are in."""
    place = settler.place
    found = place.connection.rows(place.name, np.unique(ids).tolist(), ["image_id", "copy_of"])
    return {row["image_id"]: row["copy_of"] for row in found}
