"""Vectors that tests are about."""

import numpy as np


def unit(rows: np.ndarray) -> np.ndarray:
    """The rows at length 1, float32."""
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
