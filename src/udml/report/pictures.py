"""Pictures of the report: thumbnails, contact sheets and the map. Arrays in, PIL images out.

Sheets and the map have transparent gaps, so that they sit on a light and on a dark page alike.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from udml.data.catalog import ImageStore  # needs pandas, which a page of drift does without

THUMBNAIL_PX = 112
_JPEG_QUALITY = 80
_WEBP_QUALITY = 78
_MAP_WIDTH_PX = 2200
_MAP_CELL_MAX_PX = 72
_MAP_CELLS_PER_IMAGE = 1.6  # the empty cells are what makes groups visible
_MAP_ASPECT = 1.5


def thumbnail(pixels: np.ndarray, side_px: int) -> Image.Image:
    """The centre square of an image, which is about what the network sees, at `side_px` x `side_px`.

    Args:
        pixels: uint8 [height, width, 3].
        side_px: side of the result.
    """
    height, width = pixels.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = np.ascontiguousarray(pixels[top : top + short, left : left + short])
    return Image.fromarray(square).resize((side_px, side_px), Image.Resampling.LANCZOS)


def save_thumbnail(store: "ImageStore", row: int, directory: Path) -> str:
    """Write the thumbnail of catalogue row `row` unless it is there; returns its file name."""
    name = f"{row}.jpg"
    path = directory / name
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        thumbnail(store[row], THUMBNAIL_PX).save(path, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return name


def contact_sheet(
    store: "ImageStore", rows: Sequence[int], columns: int, side_px: int, gap_px: int
) -> Image.Image:
    """The images of catalogue rows `rows` side by side, in reading order, on transparency."""
    lines = max(1, math.ceil(len(rows) / columns))
    step = side_px + gap_px
    sheet = Image.new("RGBA", (columns * step - gap_px, lines * step - gap_px), (0, 0, 0, 0))
    for index, row in enumerate(rows):
        line, column = divmod(index, columns)
        sheet.paste(thumbnail(store[row], side_px), (column * step, line * step))
    return sheet


def save_webp(image: Image.Image, path: Path) -> None:
    """Write a picture with transparency."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "WEBP", quality=_WEBP_QUALITY, method=4)


def project(embeddings: np.ndarray, seed: int) -> np.ndarray:
    """Place embeddings on a plane so that near ones stay near: PCA to 50, then t-SNE.

    Args:
        embeddings: float32 [n, d], finite, n of any size; the caller caps it (t-SNE takes about 6 s
            for 1,500 on two cores).
        seed: same input and seed give the same plane.

    Returns:
        float64 [n, 2]. Below 10 points, or where all are the same, the first two principal
        components, as t-SNE has nothing to say there.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n, dim = embeddings.shape
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    if n < 3 or np.abs(centred).max() < 1e-6:
        return np.pad(centred, ((0, 0), (0, max(0, 2 - dim))))[:, :2]
    reduced = PCA(min(50, n - 1, dim), random_state=seed, svd_solver="full").fit_transform(centred)
    if n < 10:
        return np.pad(reduced, ((0, 0), (0, max(0, 2 - reduced.shape[1]))))[:, :2]
    perplexity = min(30.0, (n - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    return tsne.fit_transform(reduced).astype(np.float64)


def snap_to_grid(points: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Move every point to a grid cell of its own, all together as little as possible.

    An assignment problem over squared distances (Jonker-Volgenant); 1,500 points take about a second.

    Args:
        points: float [n, 2], n >= 1.

    Returns:
        int [n, 2] of (column, line), no two alike, and the grid's (columns, lines).
    """
    from scipy.optimize import linear_sum_assignment

    n = len(points)
    lines = max(1, round(math.sqrt(n * _MAP_CELLS_PER_IMAGE / _MAP_ASPECT)))
    columns = math.ceil(n * _MAP_CELLS_PER_IMAGE / lines)
    low, high = points.min(axis=0), points.max(axis=0)
    unit = (points - low) / np.where(high > low, high - low, 1.0)
    target = unit * (columns - 1, lines - 1)
    cells = np.stack(np.meshgrid(np.arange(columns), np.arange(lines)), axis=-1).reshape(-1, 2)
    cost = ((target[:, None, :] - cells[None, :, :]) ** 2).sum(axis=-1)
    _, chosen = linear_sum_assignment(cost)
    return cells[chosen], (columns, lines)


def draw_map(
    store: "ImageStore", rows: Sequence[int], cells: np.ndarray, shape: tuple[int, int]
) -> Image.Image:
    """One picture of thumbnails, row `rows[i]` at grid cell `cells[i]`, none hiding another.

    Args:
        store: pixels of all catalogue rows.
        rows: n catalogue rows.
        cells: int [n, 2] of (column, line), as `snap_to_grid` gives them.
        shape: the grid's (columns, lines).
    """
    columns, lines = shape
    step = max(8, min(_MAP_CELL_MAX_PX, _MAP_WIDTH_PX // columns))
    picture = Image.new("RGBA", (columns * step, lines * step), (0, 0, 0, 0))
    for row, (column, line) in zip(rows, cells.tolist(), strict=True):
        picture.paste(thumbnail(store[int(row)], step - 2), (column * step + 1, line * step + 1))
    return picture
