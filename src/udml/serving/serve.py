"""`udml serve` and `udml keys`."""

import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from udml.errors import UdmlError, install_hint
from udml.serving.service.settings import Settings

_MAX_PENDING = 500  # connections that wait to be accepted
_DRAIN_SECONDS = 30


def serve(settings: Settings, models: Path, data: Path) -> None:
    """Serve the champion until SIGTERM or Ctrl-C, then answer what has begun and stop.

    Raises:
        UdmlError: if it cannot start.
    """
    try:
        import uvicorn  # noqa: F401 - whether it is there

        from udml.serving.http.app import create_app
    except ModuleNotFoundError as error:
        raise UdmlError(f"serving needs {error.name}", install_hint("serve")) from error
    from udml.serving.engine.searcher import Searcher

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    run_app(settings, lambda: create_app(settings, models, lambda place: Searcher.open(place, data)))


def run_app(settings: Settings, make: Callable[[], Any]) -> None:
    """Serve what `make` makes until SIGTERM or Ctrl-C, then answer what has begun and stop.

    Raises:
        UdmlError: if the address is not to be had, which is known before `make` is called.
    """
    with _bound(settings.host, settings.port) as listener:  # first: a model takes seconds to load
        _run(make(), listener, settings)


def is_free(settings: Settings) -> bool:
    """Whether the address can be had."""
    try:
        with _bound(settings.host, settings.port) as listener:
            listener.listen(1)
    except (UdmlError, OSError):
        return False
    return True


def _run(app: Any, listener: socket.socket, settings: Settings) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a caller could choose its own address otherwise
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    with _refusals_said(settings.host, settings.port):
        listener.listen(_MAX_PENDING)  # whoever reads the address may connect at once
    with _quiet_signals():
        host, port = listener.getsockname()[:2]
        print(f"serving on http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
        uvicorn.Server(config).run(sockets=[listener])


def _bound(host: str, port: int) -> socket.socket:
    """A socket that has the address, but does not listen yet."""
    with _refusals_said(host, port):
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
        return listener


@contextmanager
def _refusals_said(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except (OSError, OverflowError) as error:
        raise UdmlError(
            f"cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error}",
            "choose another with --host and --port",
        ) from error


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """Uvicorn stops on a signal, then raises it again, for whoever was there before: for nobody here."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
