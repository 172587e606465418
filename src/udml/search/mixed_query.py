"""One query made of several: more like these, less like those.

The query is the mean of the unit vectors of the pictures that are wanted, less the mean of those to stay
away from, of unit length again. Nothing is trained. It need not be the vector of any image.
"""

from collections.abc import Sequence

import numpy as np

from udml.errors import UdmlError

_LEAST_NORM = 1e-3  # what rounding leaves of a difference of equal vectors is a thousand times less


def mixed_query(
    like: Sequence[np.ndarray] | np.ndarray, unlike: Sequence[np.ndarray] | np.ndarray = ()
) -> np.ndarray:
    """The vector that stands for all of `like` and away from `unlike`.

    Args:
        like: n >= 1 vectors, float32 [d], of unit length.
        unlike: m >= 0 vectors, float32 [d], of unit length.

    Returns:
        float32 [d], of unit length.

    Raises:
        UdmlError: if there is nothing to be like, or nothing is left: the same picture on both sides.
    """
    if len(like) == 0:
        raise UdmlError("there is no picture to be like", "name at least one beside those to stay away from")
    mixed = np.mean(np.asarray(like, np.float64), axis=0)
    if len(unlike):
        mixed = mixed - np.mean(np.asarray(unlike, np.float64), axis=0)
    norm = np.linalg.norm(mixed)
    if norm < _LEAST_NORM:
        raise UdmlError(
            "what the pictures have in common is what they are to stay away from: nothing is left to search",
            "take out a picture that stands on both sides",
        )
    return (mixed / norm).astype(np.float32)
