"""Embedding what was added, for a version that is being pushed."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from udml.collection.outcome import unknown_image
from udml.collection.shared import changes
from udml.collection.shared.connection import Connection
from udml.collection.shared.files import Files
from udml.collection.shared.rows import ITEM_FIELDS, item_of
from udml.collection.shared.searching import Place
from udml.collection.shared.settling import Settler, read, settle
from udml.pixels import Undecodable, Wish, decode_wish
from udml.search.embedder import Embedder
from udml.search.gallery import IndexInfo

_MAX_PIXELS = 100_000_000  # as for every file that is embedded


def settle_all(connection: Connection, name: str, info: IndexInfo, files: Files, embedder: Embedder) -> None:
    """Make a new collection's rows say what all changes say."""
    place = Place(connection, name, info)
    settler = Settler(place, files, partial(_embed, embedder), partial(_original, place, files))
    for told in changes.since(connection, 0):
        settle(settler, told)


def _embed(embedder: Embedder, files: Sequence["bytes | np.ndarray"]) -> list["np.ndarray | Undecodable"]:
    decoded = [_decoded(embedder, file) for file in files]
    vectors = iter(embedder.embed([image for image in decoded if isinstance(image, np.ndarray)]))
    return [image if isinstance(image, Undecodable) else next(vectors) for image in decoded]


def _decoded(embedder: Embedder, file: "bytes | np.ndarray") -> "np.ndarray | Undecodable":
    if isinstance(file, np.ndarray):
        return file
    try:
        return decode_wish(file, Wish(embedder.card.store_short_side_px, max_pixels=_MAX_PIXELS)).pixels
    except Undecodable as problem:
        return problem


def _original(place: Place, files: Files, image_id: int) -> bytes:
    rows = place.connection.rows(place.name, [image_id], ITEM_FIELDS)
    data = read(files, item_of(rows[0])) if rows else None
    if data is None:
        raise unknown_image(image_id)
    return data
