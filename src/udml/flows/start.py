"""What is checked before Prefect is loaded, which takes seconds: what is wrong is said at once."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from udml.config import load_params
from udml.errors import UdmlError
from udml.text import printable_lines


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """End this process with a sentence if the block raises a `UdmlError`."""
    try:
        yield
    except UdmlError as error:
        sys.exit(f"udml: {printable_lines(str(error))}")


def require_settings() -> None:
    """End this process with a sentence if `params.yaml` is missing or wrong."""
    with in_a_sentence():
        load_params()


def require_monitor(usage: str) -> None:
    """As `require_folder`; and the settings that the version, the second argument, is watched with."""
    from udml.config import Monitor
    from udml.registry.chosen import choose

    require_folder(usage)
    with in_a_sentence():
        choose(sys.argv[2] if len(sys.argv) > 2 else None).settings(Monitor, "monitor")


def require_folder(usage: str) -> None:
    """End this process with a sentence unless its first argument names a folder."""
    if len(sys.argv) < 2 or not sys.argv[1]:
        sys.exit(f"udml: no folder is named\n  -> {usage}")
