"""Following a file: what it says now is taken in, however often reading it has failed before."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path

_RETRY_SECONDS = 1.0
_SHARE_OF_TIME = 4  # a try that took long is made again after this many times as long
NOTHING_YET = object()  # nothing was taken in, or nobody knows what
log = logging.getLogger(__name__)


class Watch:
    """Looks at something again and again, and takes it in when it is another than what was last taken in.

    Attributes:
        behind: why what is there now has not been taken in, a sentence; None where it has.
    """

    def __init__(
        self, look: Callable[[], Hashable], take_in: Callable[[], Awaitable[None]], taken_in: Hashable
    ) -> None:
        """Begin with what was taken in already.

        Args:
            look: what is there now; an OSError says that this can't be told.
            take_in: reads it; what it raises is a reason to try again.
            taken_in: what `look` said before it was read the first time.
        """
        self._look = look
        self._take_in = take_in
        self._taken_in = taken_in
        self._try_at = 0.0
        self._failed: Hashable = NOTHING_YET
        self.behind: str | None = None

    async def follow(self, poll_seconds: float) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(poll_seconds)
            await self.look_once()

    async def look_once(self) -> None:
        """Look, and take in what is new; what failed is tried again soon, at once where it has changed."""
        try:
            now = self._look()
        except OSError as error:
            self._say(f"it can't be told what is there: {error.strerror}")
            return
        if now == self._taken_in:
            self.behind = None
            return
        if now == self._failed and time.monotonic() < self._try_at:
            return
        began = time.monotonic()
        try:
            await self._take_in()
        except Exception as error:  # whatever is wrong with it, it may be right the next time
            self._say(str(error))
            self._failed = now
            took = time.monotonic() - began
            self._try_at = time.monotonic() + max(_RETRY_SECONDS, _SHARE_OF_TIME * took)
        else:
            self._taken_in, self.behind = now, None

    def _say(self, why: str) -> None:
        if why != self.behind:
            log.error("%s", why)
        self.behind = why


def identity(path: Path) -> tuple[int, ...] | None:
    """What tells a file, where a link leads, from what it was; None where there is none.

    Raises:
        OSError: if that can't be told.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
