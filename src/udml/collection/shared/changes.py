"""What was added and removed, whichever version serves: the truth that the versions' rows follow.

A row an image, written by its id: of two writers the later one counts, in the order of the store. Ids of
added images follow from their content, so no two writers ever mean different files by one.
"""

import time
from collections.abc import Iterable, Iterator, Sequence

from udml.collection.shared.connection import Connection
from udml.collection.shared.rows import CHANGE_FIELDS, CHANGES, SharedChange, change_of, change_row


def put(connection: Connection, changes: Sequence[SharedChange]) -> None:
    """Write changes; durable when this returns."""
    if changes:
        connection.ask("upsert", CHANGES, [change_row(change) for change in changes])


def of_images(connection: Connection, image_ids: Sequence[int]) -> list[SharedChange]:
    """What became of these images, as far as they were ever changed."""
    return [change_of(row) for row in connection.rows(CHANGES, image_ids, CHANGE_FIELDS)]


def of_contents(connection: Connection, sha256s: Iterable[str]) -> list[SharedChange]:
    """What became of images of these contents."""
    return [
        change_of(row) for row in connection.where(CHANGES, "sha256", sorted(set(sha256s)), CHANGE_FIELDS)
    ]


def since(connection: Connection, stamp: int) -> Iterator[list[SharedChange]]:
    """All changes of this stamp or a later one, so many at a time."""
    for rows in connection.every(CHANGES, f"stamp >= {stamp}", CHANGE_FIELDS):
        yield [change_of(row) for row in rows]


def next_stamp(seen: int) -> int:
    """A stamp for a change: now, or where this clock lags behind, just above what was seen."""
    return max(time.time_ns() // 1000, seen + 1)
