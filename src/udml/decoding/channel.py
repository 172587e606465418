"""What goes over the socket between the two ends: a JSON value, and bytes that belong to it."""

import json
import socket
import struct
from typing import Any

_LENGTHS = struct.Struct(">IQ")
_LONGEST_SAID = 2**16


def send(channel: socket.socket, said: Any, data: "bytes | memoryview" = b"") -> None:
    """Send a value and bytes."""
    text = json.dumps(said).encode()
    channel.sendall(_LENGTHS.pack(len(text), len(data)) + text)
    if len(data):
        channel.sendall(data)


def receive(channel: socket.socket, most_bytes: int) -> tuple[Any, bytearray]:
    """A value and the bytes that came with it, at most so many.

    Raises:
        EOFError: once the other end is closed.
        ValueError: if it is more, or not of this form.
    """
    said_bytes, data_bytes = _LENGTHS.unpack(_exactly(channel, _LENGTHS.size))
    if said_bytes > _LONGEST_SAID or data_bytes > most_bytes:
        raise ValueError(f"{said_bytes} and {data_bytes} bytes over the socket")
    return json.loads(_exactly(channel, said_bytes)), _exactly(channel, data_bytes)


def _exactly(channel: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view, filled = memoryview(data), 0
    while filled < count:
        got = channel.recv_into(view[filled:])
        if got == 0:
            raise EOFError
        filled += got
    return data
