"""udml: learn a retrieval embedding from unlabelled images, ship it as ONNX, search with it.

from udml import Searcher

searcher = Searcher.open("models/champion")
for hit in searcher.search("photo.jpg", k=8):
    print(hit.similarity, hit.source)
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# ONNX Runtime 1.32 sends usage data from Linux too, and reads this once, when it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from udml.errors import UdmlError
    from udml.serving.engine.answers import Hit
    from udml.serving.engine.searcher import Searcher

__all__ = ["Hit", "Searcher", "UdmlError", "__version__"]
__version__ = "0.1.0"
_PLACES = {
    "Hit": "udml.serving.engine.answers",
    "Searcher": "udml.serving.engine.searcher",
    "UdmlError": "udml.errors",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `udml --help` needs none of it."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
