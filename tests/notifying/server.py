"""A server that takes what is posted, or does what servers must not."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Misdeed = bytes | None  # what it answers; None: nothing at all, and it keeps the connection


@dataclass
class Receiver:
    """Attributes: url; requests: heads and bodies that came."""

    url: str
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiver(*answers: Misdeed, drip_seconds: float = 0.0) -> Iterator[Receiver]:
    """Answer the first connection by the first of `answers`, ..., all others by the last.

    With `drip_seconds`, a byte comes every so many seconds.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    opened = Receiver(f"http://127.0.0.1:{listener.getsockname()[1]}/hook")
    over = threading.Event()

    def serve_one(connection: socket.socket, answer: Misdeed) -> None:
        with connection:
            opened.requests.append(_read(connection))
            if answer is None:
                over.wait()
            for byte in (answer or b"") if drip_seconds else ():
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return
                if over.wait(drip_seconds):
                    return
            if not drip_seconds and answer:
                connection.sendall(answer)

    def serve() -> None:
        number = 0
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            answer = answers[min(number, len(answers) - 1)]
            number += 1
            threading.Thread(target=serve_one, args=(connection, answer), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield opened
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _read(connection: socket.socket) -> tuple[dict[str, str], bytes]:
    """Head and body of a request with a Content-Length."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    headers = {name.lower(): value for name, value in lines}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    return headers, body
