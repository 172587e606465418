"""Real photographs from installed packages, as a data folder and its catalogue."""

import hashlib
import io
from pathlib import Path

import pyarrow as pa
import skimage
import sklearn
from PIL import Image, ImageOps

from udml.data.catalog import CATALOG_FILE, CATALOG_SCHEMA
from udml.data.shards import ShardWriter
from udml.parquet import write_table

SKIMAGE = Path(skimage.__file__).parent / "data"
SKLEARN = Path(sklearn.__file__).parent / "datasets/images"
PHOTOGRAPHS = [SKIMAGE / "astronaut.png", SKIMAGE / "chelsea.png", SKIMAGE / "coffee.png"]
PHOTOGRAPHS += [SKIMAGE / "rocket.jpg", SKIMAGE / "motorcycle_left.png", SKLEARN / "china.jpg"]


def jpegs() -> list[bytes]:
    """Four crops of each photograph, of many sizes; one turned by EXIF."""
    files = []
    for order, path in enumerate(PHOTOGRAPHS):
        photograph = Image.open(path).convert("RGB")
        width, height = photograph.size
        for part, (dx, dy) in enumerate([(0, 0), (0.5, 0), (0, 0.5), (0.4, 0.3)]):
            left, top = int(dx * width), int(dy * height)
            size = (width // 2 - 7 * order, height // 2 - 11 * part)
            crop = photograph.crop((left, top, left + size[0], top + size[1]))
            exif = Image.Exif()
            exif[0x0112] = 6 if part == 3 else 1
            buffer = io.BytesIO()
            crop.save(buffer, "JPEG", quality=90, exif=exif)
            files.append(buffer.getvalue())
    return files


def write_images(root: Path, files: list[bytes]) -> tuple[Path, Path]:
    """A data folder and its catalogue, as import and prepare leave them; the store is not needed here."""
    rows = []
    with ShardWriter(root / "data") as writer:
        for order, data in enumerate(files):
            shard, offset = writer.add(order, f"{order}.jpg", data)
            width, height = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).size
            row = {field.name: "x" if pa.types.is_string(field.type) else 0 for field in CATALOG_SCHEMA}
            row |= {"image_id": order, "width": width, "height": height}
            row["sha256"] = hashlib.sha256(data).hexdigest()
            rows.append(row | {"data_shard": shard, "data_offset": offset, "size_bytes": len(data)})
    table = pa.Table.from_pylist(rows, schema=CATALOG_SCHEMA)
    write_table(root / "prepared" / CATALOG_FILE, table)
    return root / "prepared", root / "data"
