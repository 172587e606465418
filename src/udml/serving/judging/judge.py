"""`udml judge`: serve the page until it is stopped."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from udml.errors import UdmlError, install_hint
from udml.judgement.standing import Standing, sentences, stand
from udml.serving.serve import is_free, run_app
from udml.serving.service.settings import Settings

if TYPE_CHECKING:
    from udml.judgement.deck import Deck

_PORT = 8010  # the page that is open goes on where `udml judge` is started again


def judge(deck: "Deck", path: Path, name: str, keep: Callable[[Standing], None]) -> None:
    """Ask about the pairs of a deck until Ctrl-C, then say what is known.

    Args:
        deck: the pairs.
        path: of the file of answers.
        name: of the judge; "" for none.
        keep: told of what is known after each answer.

    Raises:
        UdmlError: if the page cannot be served.
    """
    try:
        import uvicorn  # noqa: F401 - whether it is there

        from udml.serving.judging.app import create_app
        from udml.serving.judging.table import Table
    except ModuleNotFoundError as error:
        raise UdmlError(f"judging needs {error.name}", install_hint("serve")) from error
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    settings = Settings(port=_PORT)
    if not is_free(settings):
        settings = replace(settings, port=0)
    table = Table(deck, stand, path)
    keep(table.standing())
    print("open the page in a browser and judge by the arrow keys; Ctrl-C ends it, every answer is kept")
    run_app(settings, lambda: create_app(table, name, keep))
    said = table.standing()
    print(f"{said.answers:,} answers in {path}", *sentences(said), sep="\n")
