"""`udml serve` and `udml keys`."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from udml import tracing
from udml.collection.shared.following import SharedStore
from udml.errors import UdmlError, install_hint
from udml.serving.service.settings import Settings

if TYPE_CHECKING:
    from udml.serving.engine.pointing import ChampionAlias
    from udml.serving.engine.searcher import Searcher
    from udml.serving.http.connections import Door
    from udml.serving.http.security import Guard

_MAX_PENDING = 500  # connections that wait to be accepted
_DRAIN_SECONDS = 10  # what takes longer is stopped, so that SIGTERM ends the service in 15


def serve(settings: Settings, models: Path, data: Path, shared: SharedStore | None = None) -> None:
    """Serve the champion until SIGTERM or Ctrl-C, then answer what has begun and stop.

    Args:
        settings: limits and doors.
        models: the registry.
        data: the imported data.
        shared: the store of the collection; None for the one in the registry.

    Raises:
        UdmlError: if it cannot start.
    """
    try:
        import uvicorn  # noqa: F401 - whether it is there

        from udml.serving.http.app import create_app
    except ModuleNotFoundError as error:
        raise UdmlError(f"serving needs {error.name}", install_hint("serve")) from error
    from udml.serving.opening import opener

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    def make() -> "Guard":
        pointer = None if shared is None else _champion_alias(settings, shared, models, data)
        return create_app(settings, models, opener(settings, data), pointer)

    tracing.start("udml-serve")
    try:
        run_app(settings, make)
    finally:
        tracing.stop()


def _champion_alias(settings: Settings, shared: SharedStore, models: Path, data: Path) -> "ChampionAlias":
    from udml.collection.shared.connection import Connection
    from udml.collection.shared.rows import version_of
    from udml.registry.signing.check import read_key, require_signed
    from udml.serving.engine.pointing import ChampionAlias
    from udml.serving.engine.shared import open_shared

    key = None if settings.require_signature is None else read_key(settings.require_signature)

    def open_named(name: str) -> "Searcher":
        if key is not None:
            require_signed(models, version_of(name)[0], key)
        return open_shared(name, shared, models, data)

    return ChampionAlias(Connection(shared.uri), open_named)


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

    from udml.serving.http.connections import MAX_HEAD_BYTES

    config = uvicorn.Config(
        app,
        http=_http_protocol(app.door),
        ws="none",
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        log_level="error",  # a warning for each request that is none would fill the disk
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a caller could choose its own address otherwise
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    with _refusals_said(settings.host, settings.port):
        listener.listen(_MAX_PENDING)  # whoever reads the address may connect at once
    _spare_collections()
    with _quiet_signals():
        host, port = listener.getsockname()[:2]
        print(f"serving on http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
        uvicorn.Server(config).run(sockets=[listener])


def _spare_collections() -> None:
    """Have collections of garbage look at nothing that is there by now: in 70 ms of it nobody is answered."""
    gc.collect()
    gc.freeze()


def _http_protocol(door: "Door") -> type[asyncio.Protocol]:
    """Uvicorn's own, by the parser that is there, within the bounds of `door`."""
    from udml.serving.http.connections import bounded

    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Protocol
    except ModuleNotFoundError:
        from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol  # type: ignore[assignment]
    return bounded(Protocol, door)


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
