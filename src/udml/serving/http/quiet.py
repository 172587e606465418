"""A transport that may be written to after it was closed."""

from typing import Any


class Quiet:
    """A transport that says nothing any more once it is closed.

    What answers a request learns of that a moment later. uvloop raises until then, and a traceback for each
    answer that a caller doesn't wait for would take the event loop's time and fill the log.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, where anybody can still read it."""
        if not self._transport.is_closing():
            self._transport.write(data)
