"""What a collection looks like, in a sample: kept beside its index, to compare new images with.

Duplicates count once: photos come in bursts, and a burst tells no more than one of its photos. The
vectors of the sample are in the index itself; what the index does not know is kept here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from udml.data.statistics import STATISTICS, image_statistics
from udml.errors import UdmlError
from udml.files import atomic_path
from udml.progress import progress
from udml.search.gallery import OLD_REFERENCE_FILE, REFERENCE_FILE, GalleryIndex, vectors_of
from udml.search.tables import read_rows

if TYPE_CHECKING:
    import pandas as pd

    from udml.data.catalog import ImageStore  # needs pandas, which watching for drift does without

_SEED = 0
_ROW = np.dtype([("image_id", np.int64), *((name, np.float64) for name in STATISTICS)])


@dataclass(frozen=True)
class Reference:
    """A sample of m images of a collection, one of each duplicate group.

    Attributes:
        image_ids: int64 [m].
        vectors: float32 [m, d], unit rows.
        statistics: float64 [m, 8], columns as `udml.data.statistics.STATISTICS`.
    """

    image_ids: np.ndarray
    vectors: np.ndarray
    statistics: np.ndarray


def write_reference(directory: Path, catalog: "pd.DataFrame", store: "ImageStore", images: int) -> None:
    """Draw at most `images` images from the catalogue and write their statistics to reference.npy.

    The same catalogue gives the same file.
    """
    firsts = np.flatnonzero((catalog["group"] == catalog["image_id"]).to_numpy())
    drawn = np.random.default_rng(_SEED).permutation(firsts)[:images]
    rows = np.sort(drawn)
    widths, heights = catalog["width"].to_numpy(), catalog["height"].to_numpy()
    values = [
        image_statistics(store[int(row)], int(widths[row]), int(heights[row]))
        for row in progress(rows, "reference", unit="image")
    ]
    table = np.empty(len(rows), _ROW)
    table["image_id"] = catalog["image_id"].to_numpy()[rows]
    for name, column in zip(STATISTICS, np.stack(values).T, strict=True):
        table[name] = column
    with atomic_path(directory / REFERENCE_FILE) as temporary, temporary.open("wb") as file:
        np.save(file, table)


def read_reference(directory: Path, index: GalleryIndex) -> Reference:
    """Read the sample kept beside an index, with its vectors. Images taken off the index are left out.

    Raises:
        UdmlError: if there is none, or none of its images is in the index.
    """
    path, image_ids, statistics = _read(directory)
    there = np.isin(image_ids, index.ids)
    if not there.any():
        raise UdmlError(f"{path} is of another index", "build the index again with `dvc repro index`")
    return Reference(image_ids[there], vectors_of(index, image_ids[there]), statistics[there])


def _read(directory: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """The file there is, its ids int64 [m] and statistics float64 [m, 8]."""
    path, old = directory / REFERENCE_FILE, directory / OLD_REFERENCE_FILE
    if path.exists():
        table = read_rows(path, _ROW)
        return path, table["image_id"], np.stack([table[name] for name in STATISTICS], axis=1)
    if old.exists():
        import pyarrow.parquet as pq

        columns = pq.read_table(old)
        statistics = np.stack([columns[name].to_numpy() for name in STATISTICS], axis=1)
        return old, columns["image_id"].to_numpy(), statistics
    raise UdmlError(
        f"no {path}: this index was built before there was one", "run `dvc repro index`, and register it"
    )
