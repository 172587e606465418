"""Files' bytes as a model wants to see them, and their vectors."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np

from udml.cropping import Crop, decode_crop
from udml.pixels import Undecodable, decode
from udml.search.embedder import Embedder

MAX_PIXELS = 100_000_000  # larger images are refused by their header, before they are decoded


def decode_for(embedder: Embedder, data: bytes, max_pixels: int, crop: Crop | None) -> np.ndarray:
    """Decode a file, or a part of the picture in it; see `Searcher.decode`."""
    short_side_px = embedder.card.store_short_side_px
    if crop is not None:
        return decode_crop(data, short_side_px, crop, max_pixels)
    return decode(data, short_side_px, max_pixels=max_pixels).pixels


def embed_bytes(
    embedder: Embedder, decoders: Callable[[], Executor], files: Sequence[bytes]
) -> list[np.ndarray | Undecodable]:
    """A vector, float32 [d], or the reason why not for each file; `decoders` gives the threads."""

    def attempt(data: bytes) -> np.ndarray | Undecodable:
        try:
            return decode_for(embedder, data, MAX_PIXELS, None)
        except Undecodable as problem:
            return problem

    images = list(decoders().map(attempt, files))
    vectors = iter(embedder.embed([image for image in images if isinstance(image, np.ndarray)]))
    return [image if isinstance(image, Undecodable) else next(vectors) for image in images]
