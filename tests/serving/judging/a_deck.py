"""A deck of made-up models whose pictures show their number, and a service of its page."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn

from tests.judgement.known import Known, known
from udml.judgement.deck import Deck, Model
from udml.judgement.standing import stand
from udml.serving.judging.app import create_app
from udml.serving.judging.table import Table

TITLES = {"baseline": "frozen backbone, whitened", "champion": "champion v1", "challenger": "challenger"}


def picture(sha256: str) -> np.ndarray:
    rng = np.random.default_rng(int(sha256, 16))
    return rng.integers(0, 256, (12, 16, 3), np.uint8).repeat(20, 0).repeat(20, 1)


def a_deck(given: Known) -> Deck:
    models = [Model(kind, title, Path(f"{kind}.onnx")) for kind, title in TITLES.items()]
    kinds = {model.kind: at for at, model in enumerate(models)}
    return Deck(models, kinds, list(kinds), given.pairs, picture)


def small() -> Known:
    return known(images=200, classes=12)


@contextmanager
def served(table: Table, name: str = "", port: int = 0) -> Iterator[str]:
    """The page of a table; gives its address."""
    app = create_app(table, name, lambda standing: None)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


def a_table(given: Known, path: Path) -> Table:
    return Table(a_deck(given), stand, path)
