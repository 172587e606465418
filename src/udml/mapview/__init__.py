"""The interactive map, for the report and for the page of the service: one script and one stylesheet.

The script lies in several modules. The report has to hold it in one piece, as a page opened from a file
manager may not import modules, so that is how both get it: `ImageMap` is what it exports.
"""

import re
from functools import cache
from importlib.resources import files

_MODULES = ("colours.js", "view.js", "places.js", "raster.js", "list.js", "controls.js", "map.js")
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|function|class)\b)", re.MULTILINE)


@cache
def script() -> str:
    """All modules as one, which exports what the last one does."""
    texts = [_IMPORT.sub("", (files(__name__) / name).read_text(encoding="utf-8")) for name in _MODULES]
    return "\n".join([*(_EXPORT.sub("", text) for text in texts[:-1]), texts[-1]])


@cache
def style() -> str:
    """The stylesheet."""
    return (files(__name__) / "map.css").read_text(encoding="utf-8")
