"""Small tables beside an index: one row an image, in a .npy file."""

from pathlib import Path

import numpy as np

from udml.errors import UdmlError

_AGAIN = "run `dvc repro -f index`"


def read_rows(path: Path, row: np.dtype) -> np.ndarray:
    """The rows of a table, [n] of the structured dtype `row`.

    Raises:
        UdmlError: if the file is damaged, or its rows are of another kind.
    """
    try:
        table: np.ndarray = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise UdmlError(f"{path} is damaged: {error}", _AGAIN) from error
    if table.dtype != row:
        raise UdmlError(f"{path} was written by another version of udml", _AGAIN)
    return table
