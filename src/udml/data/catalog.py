"""The catalogue: one row per accepted image, and the store that holds its pixels.

Row order is fixed by `image_id` order of arrival in the data manifest; every array in the project
that speaks of "all images" has one entry per catalogue row, in this order.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from udml.errors import UdmlError

CATALOG_FILE = "catalog.parquet"
QUARANTINE_FILE = "quarantine.parquet"
SUMMARY_FILE = "summary.json"
STORE_DIRECTORY = "store"

CATALOG_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),  # stable: from the source path
        pa.field("source", pa.string(), nullable=False),  # path inside the imported folder
        pa.field("sha256", pa.string(), nullable=False),  # of the file's bytes, hex
        pa.field("format", pa.string(), nullable=False),  # "JPEG", "PNG", ... as decoded
        pa.field("width", pa.int32(), nullable=False),  # px, after EXIF orientation
        pa.field("height", pa.int32(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # train | test | excluded
        pa.field("role", pa.string(), nullable=False),  # both | query | gallery
        pa.field("label", pa.string(), nullable=True),  # class name, or null
        pa.field("group", pa.int64(), nullable=False),  # image_id of the duplicate group's first image
        pa.field("brightness", pa.float32(), nullable=False),  # mean grey level, 0..255
        pa.field("sharpness", pa.float32(), nullable=False),  # variance of the Laplacian
        pa.field("data_shard", pa.int32(), nullable=False),  # where the original bytes are
        pa.field("data_offset", pa.int64(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("store_shard", pa.int32(), nullable=False),  # where the decoded pixels are
        pa.field("store_offset", pa.int64(), nullable=False),
        pa.field("store_width", pa.int32(), nullable=False),
        pa.field("store_height", pa.int32(), nullable=False),
    ]
)

# Behind those, what is known of an image besides its pixels; catalogues of earlier versions lack them. Last
# come the columns of the user's manifest, as `given_fields` has them.
FACTS_SCHEMA = pa.schema(
    [
        pa.field("folder", pa.string(), nullable=False),  # of its source
        pa.field("taken", pa.timestamp("s"), nullable=True),  # what the camera's clock showed; no zone
        pa.field("camera", pa.string(), nullable=True),  # maker and model
    ]
)

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # a code of udml.pixels.Reason
        pa.field("detail", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("split", pa.string(), nullable=True),
        pa.field("label", pa.string(), nullable=True),
    ]
)


def read_catalog(prepared: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read `prepared`/catalog.parquet, or some of its columns.

    Raises:
        UdmlError: if the file is missing or its columns are not the catalogue's.
    """
    path = prepared / CATALOG_FILE
    if not path.exists():
        raise UdmlError(f"no catalogue at {path}", "run `dvc repro prepare` (or `udml prepare`) first")
    if not set(CATALOG_SCHEMA.names) <= set(pq.read_schema(path).names):
        raise UdmlError(f"{path} was written by another version of udml", "run `dvc repro -f prepare`")
    return pd.read_parquet(path, columns=columns)


@dataclass(frozen=True)
class ImageStore:
    """Decoded RGB pixels of every catalogue row, memory-mapped: `store[row]` copies nothing.

    Attributes:
        shards: the store files, by number.
        shard, offset, height, width: one entry per catalogue row.
    """

    shards: "StoreFiles"
    shard: np.ndarray
    offset: np.ndarray
    height: np.ndarray
    width: np.ndarray

    def __len__(self) -> int:
        return len(self.shard)

    def __getitem__(self, row: int) -> np.ndarray:
        """Pixels of one image: uint8 [height, width, 3], RGB, a read-only view of the file."""
        height, width = int(self.height[row]), int(self.width[row])
        start = int(self.offset[row])
        flat = self.shards[int(self.shard[row])][start : start + height * width * 3]
        return flat.reshape(height, width, 3)

    def part(self, rows: np.ndarray) -> "ImageStore":
        """The same pixels under new numbers, 0, 1, ...: those of `rows`, int [n]. Small where it is sent."""
        columns = {name: getattr(self, name)[rows] for name in ("shard", "offset", "height", "width")}
        return replace(self, **columns)


class StoreFiles:
    """A store's files, flat uint8 memory maps; sent to another process, they are opened as they are used."""

    def __init__(self, prepared: Path) -> None:
        """None of them is open yet."""
        self._prepared = prepared
        self._open: dict[int, np.ndarray] = {}

    def __getitem__(self, shard: int) -> np.ndarray:
        if shard not in self._open:
            path = store_file(self._prepared, shard)
            empty = not path.exists() or path.stat().st_size == 0
            self._open[shard] = np.empty(0, np.uint8) if empty else np.memmap(path, np.uint8, "r")
        return self._open[shard]

    def __reduce__(self) -> tuple[Callable[[Path], "StoreFiles"], tuple[Path]]:
        return StoreFiles, (self._prepared,)


def store_file(prepared: Path, shard: int) -> Path:
    """Path of one store file."""
    return prepared / STORE_DIRECTORY / f"pixels-{shard:05d}.bin"


def open_store(prepared: Path, catalog: pd.DataFrame | None = None) -> ImageStore:
    """Open the store of `prepared`; rows are aligned with `catalog` (default: the whole catalogue)."""
    if catalog is None:
        catalog = read_catalog(prepared)
    files = StoreFiles(prepared)
    for shard in range(int(catalog["store_shard"].max()) + 1 if len(catalog) else 0):
        files[shard]  # what is open stays as it is when the files are replaced
    return ImageStore(
        files,
        catalog["store_shard"].to_numpy(),
        catalog["store_offset"].to_numpy(),
        catalog["store_height"].to_numpy(),
        catalog["store_width"].to_numpy(),
    )
