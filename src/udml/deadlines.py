"""Until when work is of use to whoever asked for it: known further down without being passed on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_until: ContextVar[float | None] = ContextVar("until", default=None)
_SPARE_SECONDS = 0.5  # for the answer, which says what was waited for
_LEAST_SECONDS = 0.05


@contextmanager
def of_use_until(moment: float) -> Iterator[None]:
    """What is done in the block, in this thread, is of use until `time.monotonic()` is `moment`."""
    token = _until.set(moment)
    try:
        yield
    finally:
        _until.reset(token)


def wait_seconds(most: float) -> float:
    """How long to wait for something: `most`, or a little less than what is left of the time."""
    moment = _until.get()
    if moment is None:
        return most
    return max(_LEAST_SECONDS, min(most, moment - time.monotonic() - _SPARE_SECONDS))


def is_over() -> bool:
    """Whether nobody waits for it any more."""
    moment = _until.get()
    return moment is not None and time.monotonic() > moment
