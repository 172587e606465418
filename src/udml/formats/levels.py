"""Values of any type to the 256 levels of a picture."""

import numpy as np

_TWELVE_BITS = 4095.0
_ROWS_PX = 1 << 20  # values at a time: a whole page as float64 would take eight times its file
_LEAST_SHARE = 1 / 16  # of a type's whole range that values must reach to be taken to span it


def scale_to_8_bit(values: np.ndarray, bits: int | None = None) -> np.ndarray:
    """Values of a wider type to uint8 of the same shape.

    Unsigned integers of up to 16 bits span what their bits hold; of 16 bits, 12 of them where no value needs
    more, as cameras in laboratories write them (a photo of 16 bits so dark shows nothing). Other types state
    no range: it is taken to be 0..1 (floats), 0..255 or 0..65535 (0..127 for int8, 0..32767 for int16),
    whichever is the first to hold the values, else the whole range of an unsigned type or int8 where
    values make use of it, else min..max.

    Args:
        values: numbers, at least one; what is not finite is black.
        bits: bits of unsigned integers, if fewer than their type has.
    """
    low, high = _range_of(values, bits)
    spread = (high - low) or 1.0  # a constant image outside all ranges becomes black
    result = np.empty(values.shape, np.uint8)
    step = max(1, _ROWS_PX // max(1, values[:1].size))
    for start in range(0, len(values), step):
        wide = np.nan_to_num(values[start : start + step].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        result[start : start + step] = np.rint(np.clip((wide - low) * (255.0 / spread), 0, 255))
    return result


def _range_of(values: np.ndarray, bits: int | None) -> tuple[float, float]:
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "u" and size <= 2:
        bits = bits or 8 * size
        return 0.0, _TWELVE_BITS if bits == 16 and values.max() <= _TWELVE_BITS else float(2**bits - 1)
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0) if kind == "f" else values
    smallest, largest = float(finite.min()), float(finite.max())
    steps = {np.int8: [127.0], np.int16: [255.0, 32767.0]}.get(values.dtype.type, [255.0, 65535.0])
    steps = [1.0, *steps] if kind == "f" else steps
    if smallest >= 0:
        for step in steps:
            if largest <= step:
                return 0.0, step
    if values.dtype == np.int8:
        return -128.0, 127.0
    if kind == "u" and largest > np.iinfo(values.dtype).max * _LEAST_SHARE:
        return 0.0, float(np.iinfo(values.dtype).max)
    return smallest, largest
