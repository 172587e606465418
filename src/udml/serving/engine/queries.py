"""A query made of files: one, or several together and others to stay away from."""

import numpy as np

from udml.errors import UdmlError
from udml.search.embedder import EmbeddedFiles
from udml.search.mixed_query import mixed_query


def together(embedded: EmbeddedFiles, like: int) -> np.ndarray:
    """The one vector that embedded files stand for, float32 [d], of unit length.

    Args:
        embedded: the files to be like, then those to stay away from.
        like: how many of them are the former, at least 1.

    Raises:
        UdmlError: if one is not a usable image, or nothing is left; see `mixed_query`.
    """
    for problem in embedded.problems:
        raise UdmlError(f"{problem.path}: {problem.reason} ({problem.detail})", "search with another picture")
    if like == len(embedded.vectors) == 1:
        return embedded.vectors[0]
    return mixed_query(embedded.vectors[:like], embedded.vectors[like:])
