"""Dates in a filter: a year, a month, a day, a minute or a second, as the stretch of time that each is.

Times are those of a clock on a wall, without a zone, as cameras write them.
"""

import re
from dataclasses import dataclass

import numpy as np

_WRITTEN = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?)?)?")


@dataclass(frozen=True)
class Stretch:
    """Seconds since 1970, from `start` to before `end`."""

    start: int
    end: int


def stretch_of(text: str) -> Stretch | None:
    """What a year, `2024-05`, `2024-05-01`, `2024-05-01T12:30` or `...:59` stands for; else None."""
    if not _WRITTEN.fullmatch(text):
        return None
    try:
        moment = np.datetime64(text.replace(" ", "T"))  # its unit is the last one that is written
    except ValueError:  # the 31st of June
        return None
    start, end = (int(one.astype("datetime64[s]").astype(np.int64)) for one in (moment, moment + 1))
    return Stretch(start, end)
