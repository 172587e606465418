"""Requests begin a few at a time, so that the event loop looks at all its sockets in between.

Whoever asks for little, health above all, waits for a few of the requests that others have sent, however many
these are.
"""

import asyncio
from collections import OrderedDict, deque

MOST_AT_ONCE = 8  # the page and the like are answered as they begin: some tenths of a millisecond each


class Turns:
    """So many requests begin in one round of the event loop; those that wait take turns, caller by caller."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._most = most
        self._begun = 0  # in this round
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def wait(self, caller: str) -> None:
        """Return when a request of this caller may begin."""
        if not self._waiting and self._begun < self._most:
            self._count_one()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        await turn

    def _count_one(self) -> None:
        if self._begun == 0:  # what is called soon is called in the next round
            asyncio.get_running_loop().call_soon(self._begin_round)
        self._begun += 1

    def _begin_round(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < self._most:
            caller, own = self._waiting.popitem(last=False)
            turn = own.popleft()
            if own:
                self._waiting[caller] = own  # behind the others
            if not turn.done():  # else the service stops, and has given it up
                turn.set_result(None)
                self._count_one()
