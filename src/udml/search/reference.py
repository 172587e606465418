"""What a collection looks like, in a sample: kept beside its index, to compare new images with.

Duplicates count once: photos come in bursts, and a burst tells no more than one of its photos. The
vectors of the sample are in the index itself; what the index does not know is kept here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from udml.data.catalog import ImageStore, write_table
from udml.data.statistics import STATISTICS, image_statistics
from udml.errors import UdmlError
from udml.progress import progress
from udml.search.gallery import REFERENCE_FILE, GalleryIndex, vectors_of

_SEED = 0


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


def write_reference(directory: Path, catalog: pd.DataFrame, store: ImageStore, images: int) -> None:
    """Draw at most `images` images from the catalogue and write their statistics to reference.parquet.

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
    columns = np.stack(values).T
    table = {"image_id": catalog["image_id"].to_numpy()[rows], **dict(zip(STATISTICS, columns, strict=True))}
    write_table(directory / REFERENCE_FILE, pa.table(table))


def read_reference(directory: Path, index: GalleryIndex) -> Reference:
    """Read the sample kept beside an index, with its vectors. Images taken off the index are left out.

    Raises:
        UdmlError: if there is none, or none of its images is in the index.
    """
    path = directory / REFERENCE_FILE
    if not path.exists():
        raise UdmlError(
            f"no {path}: this index was built before there was one", "run `dvc repro index`, and register it"
        )
    table = pq.read_table(path)
    image_ids = table["image_id"].to_numpy()
    there = np.isin(image_ids, index.ids)
    if not there.any():
        raise UdmlError(f"{path} is of another index", "build the index again with `dvc repro index`")
    statistics = np.stack([table[name].to_numpy() for name in STATISTICS], axis=1)
    return Reference(image_ids[there], vectors_of(index, image_ids[there]), statistics[there])
