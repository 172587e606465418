"""What is checked before Prefect is loaded, which takes seconds: what is wrong is said at once."""

import sys

from udml.config import load_params
from udml.errors import UdmlError
from udml.text import printable_lines


def require_settings() -> None:
    """End this process with a sentence if `params.yaml` is missing or wrong."""
    try:
        load_params()
    except UdmlError as error:
        sys.exit(f"udml: {printable_lines(str(error))}")


def require_folder(usage: str) -> None:
    """End this process with a sentence unless its first argument names a folder."""
    if len(sys.argv) < 2 or not sys.argv[1]:
        sys.exit(f"udml: no folder is named\n  -> {usage}")
