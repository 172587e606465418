"""Files' bytes as a model wants to see them, and their vectors."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np

from udml.cropping import Crop
from udml.pixels import COMMAND, Budget, Undecodable, Wish, decode_wish
from udml.search.embedder import Embedder

MAX_PIXELS = 100_000_000  # larger images are refused by their header, before they are decoded


def decode_for(
    embedder: Embedder, data: bytes, max_pixels: int, crop: Crop | None, budget: Budget = COMMAND
) -> np.ndarray:
    """Decode a file, or a part of the picture in it; see `Searcher.decode`."""
    wish = Wish(embedder.card.store_short_side_px, max_pixels=max_pixels, crop=crop)
    return decode_wish(data, wish, budget).pixels


def embed_bytes(
    embedder: Embedder, decoders: Callable[[], Executor], files: Sequence[bytes | np.ndarray]
) -> list[np.ndarray | Undecodable]:
    """A vector, float32 [d], or the reason why not for each file; `decoders` gives the threads.

    A file that was decoded already is given as its pixels.
    """

    def attempt(file: bytes | np.ndarray) -> np.ndarray | Undecodable:
        try:
            return file if isinstance(file, np.ndarray) else decode_for(embedder, file, MAX_PIXELS, None)
        except Undecodable as problem:
            return problem

    images = list(decoders().map(attempt, files))
    vectors = iter(embedder.embed([image for image in images if isinstance(image, np.ndarray)]))
    return [image if isinstance(image, Undecodable) else next(vectors) for image in images]
