"""The map of an index: a place for each of its images, or for a sample of a large one, in a small file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from udml.files import atomic_path
from udml.learning.mixing import Rows
from udml.search.mapping.layout import NEIGHBOURS, lay_out
from udml.search.tables import read_rows

PLACES_FILE = "map.npy"
MOST_PLACES = 50_000  # images on a map; more are neither drawn smoothly nor told apart
_SEED = 0
_ROW = np.dtype([("image_id", np.int64), ("x", np.float32), ("y", np.float32)])
_BESIDE = 5  # neighbours whose middle is an added image's place
_FALL = 0.05  # of similarity, at which a neighbour's say in that falls to 1/e


@dataclass(frozen=True)
class Places:
    """Where m images are on the map.

    Attributes:
        ids: int64 [m], ascending.
        points: float32 [m, 2], -1..1.
    """

    ids: np.ndarray
    points: np.ndarray

    def of(self, image_ids: np.ndarray) -> np.ndarray:
        """Places of these images, float32 [n, 2]; NaN for those that have none."""
        if not len(self.ids):
            return np.full((len(image_ids), 2), np.nan, np.float32)
        at = np.minimum(np.searchsorted(self.ids, image_ids), len(self.ids) - 1)
        return np.where((self.ids[at] == image_ids)[:, None], self.points[at], np.float32(np.nan))


def write_places(path: Path, ids: np.ndarray, vectors: Rows, near: np.ndarray | None) -> None:
    """Lay out an index and write its map.

    Args:
        path: of the file.
        ids: int64 [n], image_ids by position.
        vectors: of the n images, by position.
        near: int [n, m], positions of each image's nearest others; None to look for them. Those of a sample
            are always looked for.
    """
    rows = np.arange(len(ids))
    if len(rows) > MOST_PLACES:
        near, rows = None, np.sort(np.random.default_rng(_SEED).choice(rows, MOST_PLACES, replace=False))
    own = np.ascontiguousarray(vectors[rows], np.float32)
    points = lay_out(_nearest_others(own) if near is None else near, own)
    order = np.argsort(ids[rows])
    table = np.empty(len(rows), _ROW)
    table["image_id"], table["x"], table["y"] = ids[rows][order], *points[order].T
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, table)


def read_places(directory: Path) -> Places | None:
    """The map of an index; None of an index built before there were maps.

    Raises:
        UdmlError: if it is damaged.
    """
    path = directory / PLACES_FILE
    if not path.exists():
        return None
    table = read_rows(path, _ROW)
    return Places(table["image_id"].copy(), np.stack([table["x"], table["y"]], axis=1))


def places_beside(vectors: np.ndarray, placed: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Places of images that were not laid out: the middle of their nearest neighbours' places.

    Args:
        vectors: float32 [n, d], unit rows.
        placed: float32 [m, d], of the images that were.
        points: float32 [m, 2], where these are.

    Returns:
        float32 [n, 2]; all in the middle of the map where m is 0.
    """
    if not len(vectors) or not len(placed):
        return np.zeros((len(vectors), 2), np.float32)
    k = min(_BESIDE, len(placed))
    similarity, rows = faiss.knn(
        np.ascontiguousarray(vectors, np.float32), placed, k, metric=faiss.METRIC_INNER_PRODUCT
    )
    weights = np.exp((similarity - similarity[:, :1]) / _FALL)
    return np.einsum("nk,nkc->nc", weights / weights.sum(axis=1, keepdims=True), points[rows])


def _nearest_others(vectors: np.ndarray) -> np.ndarray:
    """Positions of each row's nearest other rows, int64 [n, k], by exact search."""
    k = min(len(vectors), NEIGHBOURS + 1)
    _, rows = faiss.knn(vectors, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    others = np.argsort(rows == np.arange(len(vectors))[:, None], axis=1, kind="stable")
    return np.take_along_axis(rows, others, axis=1)[:, : k - 1]


def sample_of(ids: np.ndarray, places: Places | None, at_most: int) -> np.ndarray:
    """Images to look at where there are too many: those on the map, or a random draw without one.

    Args:
        ids: int64 [n].
        places: the map, if there is one.
        at_most: how many.
    """
    if len(ids) > at_most and places is not None:
        ids = ids[np.isin(ids, places.ids)]
    if len(ids) > at_most:
        ids = np.random.default_rng(_SEED).choice(ids, at_most, replace=False)
    return ids


def as_bytes(points: np.ndarray) -> np.ndarray:
    """Places as the page reads them: uint16 [n, 2], 0 for -1 and 65535 for 1."""
    return np.clip(np.round((points.astype(np.float64) + 1) * 32767.5), 0, 65535).astype("<u2")


def group_numbers(groups: Sequence[np.ndarray]) -> np.ndarray:
    """The group of each image where groups are put one behind the other: uint8 [n]."""
    return np.repeat(np.arange(len(groups)), [len(ids) for ids in groups]).astype(np.uint8)
