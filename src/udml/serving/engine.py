"""Search with a picture: ONNX Runtime for the vector, FAISS for its neighbours. No torch."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from udml.data.shards import read_bytes
from udml.errors import UdmlError
from udml.pixels import decode
from udml.registry.bundle import INDEX_DIRECTORY, MODEL_FILE
from udml.retrieval.embedder import EmbeddedFiles, Embedder, embed_files
from udml.retrieval.gallery import GalleryIndex, open_index, read_items, search


@dataclass(frozen=True)
class Hit:
    """One neighbour.

    Attributes:
        image_id: stable id of the image in the collection.
        similarity: cosine, -1..1; 1 is the same picture.
        source: its path inside the imported folder.
        label: its class, or None where nobody named it.
    """

    image_id: int
    similarity: float
    source: str
    label: str | None


@dataclass(frozen=True)
class Searcher:
    """A model and the index it made, open for queries; `open_searcher` makes one."""

    embedder: Embedder
    index: GalleryIndex
    items: pd.DataFrame
    data: Path

    def embed(self, paths: Sequence[Path]) -> EmbeddedFiles:
        """Embed image files; unusable ones are listed, the others go on."""
        return embed_files(self.embedder, paths)

    def neighbours(self, vectors: np.ndarray, k: int) -> list[list[Hit]]:
        """The k nearest images of each of the unit vectors, float32 [n, dim], best first."""
        similarities, ids = search(self.index, vectors, k)
        return [
            [self._hit(int(i), float(s)) for i, s in zip(row_ids, row, strict=True)]
            for row_ids, row in zip(ids, similarities, strict=True)
        ]

    def search(self, path: str | Path, k: int = 8) -> list[Hit]:
        """The k images of the collection most like the picture at `path`, best first.

        Raises:
            UdmlError: if the file is not a usable image.
        """
        embedded = self.embed([Path(path)])
        if embedded.problems:
            problem = embedded.problems[0]
            raise UdmlError(
                f"{problem.path}: {problem.reason} ({problem.detail})", "search with another picture"
            )
        return self.neighbours(embedded.vectors, k)[0]

    def picture(self, image_id: int, short_side_px: int) -> Image.Image:
        """An image of the collection, its shorter side at most `short_side_px`.

        Raises:
            UdmlError: if there is no such image, or the collection's data are not here.
        """
        if image_id not in self.items.index:
            raise UdmlError(f"no image {image_id} in the index", "ids come from search results")
        item: Any = self.items.loc[image_id]
        data = read_bytes(self.data, int(item.data_shard), int(item.data_offset), int(item.size_bytes))
        return Image.fromarray(decode(data, short_side_px).pixels)

    def _hit(self, image_id: int, similarity: float) -> Hit:
        item: Any = self.items.loc[image_id]
        return Hit(image_id, similarity, item.source, None if pd.isna(item.label) else item.label)


def open_searcher(model: Path, index: Path, data: Path) -> Searcher:
    """Open an exported model with the index it made.

    Args:
        model: an ONNX file that `udml export` wrote.
        index: a directory that `udml index` wrote.
        data: the imported data, for the pictures behind the hits; needed by `picture` only.

    Raises:
        UdmlError: if one is missing or damaged, or the index was made by another model.
    """
    embedder = Embedder(model)
    return Searcher(embedder, open_index(index, embedder.card), read_items(index).set_index("image_id"), data)


def open_version(directory: Path, data: Path) -> Searcher:
    """Open a registered version, such as models/champion, with `data` as for `open_searcher`.

    A link is followed once: model and index are of one version even if the champion changes meanwhile.
    """
    version = directory.resolve()
    return open_searcher(version / MODEL_FILE, version / INDEX_DIRECTORY, data)


def result_sheet(query: Path, hits: Sequence[Hit], searcher: Searcher, side_px: int = 160) -> Image.Image:
    """One picture of a query (left, framed) and its neighbours, nearest first."""
    gap_px = 8
    pictures = [Image.fromarray(decode(query.read_bytes(), 2 * side_px).pixels)]
    pictures += [searcher.picture(hit.image_id, 2 * side_px) for hit in hits]
    sheet = Image.new("RGB", (len(pictures) * (side_px + gap_px) + gap_px, side_px + 2 * gap_px), "white")
    sheet.paste((30, 90, 200), (2, 2, side_px + 2 * gap_px - 2, side_px + 2 * gap_px - 2))
    for position, picture in enumerate(pictures):
        picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
        left = gap_px + position * (side_px + gap_px) + (side_px - picture.width) // 2
        sheet.paste(picture, (left, gap_px + (side_px - picture.height) // 2))
    return sheet


def to_jpeg(picture: Image.Image) -> bytes:
    """JPEG bytes of a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
