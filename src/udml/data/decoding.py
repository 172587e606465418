"""Decode one data shard into one store file; what each worker process of `prepare` does.

A shard is finished when its row table exists. Pixels and thumbnails are written before it, each file
whole or not at all, so a killed run resumes with the shards that have no table.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from PIL import Image

from udml.data.duplicates import duplicate_thumbnail
from udml.data.shards import read_bytes
from udml.data.statistics import sharpness
from udml.files import atomic_path
from udml.formats.exif import facts_of
from udml.parquet import write_table
from udml.pixels import Decoded, Undecodable, decode

_BEHIND_BYTES = 8 * 2**20
ROW_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("reason", pa.string()),  # null where the image was decoded; then the rest is filled
        ("detail", pa.string()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("brightness", pa.float32()),
        ("sharpness", pa.float32()),
        ("store_offset", pa.int64()),
        ("store_width", pa.int32()),
        ("store_height", pa.int32()),
        ("pixel_digest", pa.binary(16)),
        ("taken", pa.timestamp("s")),
        ("camera", pa.string()),
    ]
)


@dataclass(frozen=True)
class ShardTask:
    """One data shard's work.

    Attributes:
        data_root: where the shards are.
        shard: number of the data shard, and of the store file.
        image_id, offset, size_bytes, sha256: one entry per file in the shard.
        short_side_px, min_side_px, max_pixels: see `udml.pixels.decode`.
        pixels, thumbnails, rows: the files to write. Thumbnails are uint8 [accepted, 32, 32, 3].
    """

    data_root: Path
    shard: int
    image_id: tuple[int, ...]
    offset: tuple[int, ...]
    size_bytes: tuple[int, ...]
    sha256: tuple[str, ...]
    short_side_px: int
    min_side_px: int
    max_pixels: int
    pixels: Path
    thumbnails: Path
    rows: Path

    def finished(self) -> bool:
        """Whether an earlier run finished this shard: its table is there, and the pixels it speaks of."""
        try:
            table = pq.read_table(self.rows, columns=["image_id", "store_width", "store_height"])
            area_px = sum(
                (w or 0) * (h or 0)
                for w, h in zip(*(table[name].to_pylist() for name in table.column_names[1:]), strict=True)
            )
            whole = self.pixels.stat().st_size == 3 * area_px and self.thumbnails.exists()
        except (OSError, pa.ArrowException):
            return False
        return whole and table["image_id"].to_pylist() == list(self.image_id)


def decode_shard(task: ShardTask, count_one: Callable[[], object]) -> None:
    """Decode the files of one shard in order, calling `count_one` after each.

    Raises:
        UdmlError: if the shard itself cannot be read. Files that hold no image are rows with a reason.
    """
    rows: list[dict[str, Any]] = []
    begun_bytes = 0
    with (
        atomic_path(task.pixels) as pixels_path,
        atomic_path(task.thumbnails) as thumbnails_path,
        pixels_path.open("wb") as pixels,
        thumbnails_path.open("wb") as thumbnails,
    ):
        for image_id, offset, size, sha256 in zip(
            task.image_id, task.offset, task.size_bytes, task.sha256, strict=True
        ):
            data = read_bytes(task.data_root, task.shard, offset, size, sha256)
            rows.append({"image_id": image_id, **_decode_one(data, task, pixels, thumbnails)})
            begun_bytes = _begin_writing(pixels, begun_bytes)
            count_one()
    write_table(task.rows, pa.Table.from_pylist(rows, ROW_SCHEMA))


def _begin_writing(file: BinaryIO, begun_bytes: int) -> int:
    """Have the system write what has come since, if it is much, while more is decoded: syncing waits for it.

    Returns:
        How much of the file is being written by now.
    """
    size_bytes = file.tell()
    if size_bytes - begun_bytes < _BEHIND_BYTES or not hasattr(os, "posix_fadvise"):
        return begun_bytes
    file.flush()
    # what is yet to be written is not dropped but begun
    os.posix_fadvise(file.fileno(), begun_bytes, size_bytes - begun_bytes, os.POSIX_FADV_DONTNEED)
    return size_bytes


def _decode_one(data: bytes, task: ShardTask, pixels: BinaryIO, thumbnails: BinaryIO) -> dict[str, Any]:
    try:
        image = decode(data, task.short_side_px, task.min_side_px, task.max_pixels)
    except Undecodable as problem:
        return {"reason": str(problem.reason), "detail": problem.detail}
    picture = Image.fromarray(image.pixels)
    said = facts_of(data)
    row = {
        "store_offset": pixels.tell(),
        "taken": said.taken,
        "camera": said.camera,
        **_facts(image, picture),
    }
    pixels.write(image.pixels.data)
    thumbnails.write(duplicate_thumbnail(picture).tobytes())
    return row


def _facts(image: Decoded, picture: Image.Image) -> dict[str, Any]:
    height, width, _ = image.pixels.shape
    grey = np.asarray(picture.convert("L"))
    return {
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "brightness": float(grey.mean()),
        "sharpness": sharpness(grey),
        "store_width": width,
        "store_height": height,
        "pixel_digest": pixel_digest(image.pixels),
    }


def pixel_digest(pixels: np.ndarray) -> bytes:
    """Sixteen bytes that are equal for images, uint8 [h, w, 3], of equal shape and pixels."""
    digest = xxhash.xxh3_128(f"{pixels.shape[0]}x{pixels.shape[1]}:".encode())
    digest.update(pixels.data)
    return digest.digest()
