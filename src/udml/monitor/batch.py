"""The new images that are tested for drift: files that a person names, or what an import brought.

Photos arrive in bursts, and ten shots of one thing are one piece of evidence, not ten. So images are
grouped by the rule that `prepare` groups duplicates with, and one of each group goes on; the sample they
are compared with was drawn in the same way. `udml.monitor.drift` then groups by the embedding what that
rule does not find. Shots that differ more count as independent: a batch from one single occasion alarms
more often than the stated rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from udml.config import Prepare
from udml.data.duplicates import digest_of_pixels, duplicate_thumbnail, find_groups
from udml.data.statistics import STATISTICS, image_statistics
from udml.errors import UdmlError
from udml.pixels import Decoded, read_image
from udml.progress import progress
from udml.search.embedder import EmbeddedFiles, Embedder, FileProblem, embed_files, embed_store
from udml.search.items import Items

PICTURE_PX = 256  # shorter side of a picture for the page, at least


@dataclass(frozen=True)
class Batch:
    """n new images.

    Attributes:
        paths: of their files, inside the imported folder for imported ones.
        vectors: float32 [n, d], unit rows.
        statistics: float64 [n, 8], columns as `udml.data.statistics.STATISTICS`.
        independent: int64, ascending positions of one image of each duplicate group.
        problems: files that hold no usable image.
        pixels: uint8 [h, w, 3] of the image at a position, for a picture.
    """

    paths: list[Path]
    vectors: np.ndarray
    statistics: np.ndarray
    independent: np.ndarray
    problems: list[FileProblem]
    pixels: Callable[[int], np.ndarray]


def from_files(embedder: Embedder, files: Sequence[Path], duplicates: Prepare) -> Batch:
    """Decode and embed image files.

    Raises:
        UdmlError: if none of them is usable.
    """
    embedded = embed_files(embedder, files, _note)
    if not embedded.paths:
        first = embedded.problems[0]
        raise UdmlError(
            f"none of the {len(files)} files is a usable image, first {first.path} ({first.detail})",
            "name pictures, or a folder of them",
        )
    return Batch(
        embedded.paths,
        embedded.vectors,
        np.stack([one.statistics for one in embedded.noted]),
        _one_of_each_group(embedded, duplicates),
        embedded.problems,
        lambda position: read_image(embedded.paths[position], PICTURE_PX).pixels,
    )


def from_import(embedder: Embedder, prepared: Path, known: Items) -> Batch:
    """Embed the images that `prepare` left in `prepared` and whose files an index does not know.

    A new image that looks like a known one belongs to that one's group and is no independent evidence.

    Raises:
        UdmlError: if `prepare` has not run.
    """
    from udml.data.catalog import open_store, read_catalog  # needs pandas, which images given do without

    catalog = read_catalog(prepared)
    there = known.contents(catalog["sha256"].tolist())
    rows = np.flatnonzero(~catalog["sha256"].isin(there).to_numpy())
    new, store = catalog.iloc[rows], open_store(prepared, catalog)
    sizes = zip(rows.tolist(), new["width"].tolist(), new["height"].tolist(), strict=True)
    statistics = [
        image_statistics(store[row], width, height)
        for row, width, height in progress(list(sizes), "look at what is new", unit="image")
    ]
    return Batch(
        [Path(source) for source in new["source"]],
        embed_store(embedder, store, rows),
        np.array(statistics).reshape(-1, len(STATISTICS)),
        np.flatnonzero((new["group"] == new["image_id"]).to_numpy()),
        [],  # what is no image went to quarantine
        lambda position: store[int(rows[position])],
    )


@dataclass(frozen=True)
class _Noted:
    statistics: np.ndarray
    thumbnail: np.ndarray
    digest: bytes


def _note(image: Decoded) -> _Noted:
    return _Noted(
        image_statistics(image.pixels, image.width, image.height),
        duplicate_thumbnail(Image.fromarray(image.pixels)),
        digest_of_pixels(image.pixels),
    )


def _one_of_each_group(embedded: EmbeddedFiles, params: Prepare) -> np.ndarray:
    """Positions of the first image of each duplicate group, int64, ascending."""
    positions = np.arange(len(embedded.paths))
    groups = find_groups(
        positions,
        np.array([one.digest for one in embedded.noted], dtype="V16"),
        np.stack([one.thumbnail for one in embedded.noted]),
        params.duplicate_max_bits,
        params.duplicate_min_correlation,
        lambda position: read_image(embedded.paths[position], params.store_short_side_px).pixels,
    )
    return positions[groups == positions]
