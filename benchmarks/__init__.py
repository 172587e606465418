"""Where the figures in README and docs come from: `python -m benchmarks.NAME --help` says what each does."""

import __future__

import ast
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_LIGHT = ("benchmarks.settings", "udml.config", "udml.config.train")


def _help_at_once() -> None:
    """Answer `python -m benchmarks.NAME --help` before what NAME imports, which takes many seconds.

    Its module runs without any import but quick ones, and without the lines that need one; `main` ends in
    the parser, which knows what to print. Where that does not do, the module is imported as ever.
    """
    if "-m" not in sys.orig_argv or {"-h", "--help"}.isdisjoint(sys.argv):
        return
    path = _file(sys.orig_argv[sys.orig_argv.index("-m") + 1])
    if path is None:
        return
    tree = ast.parse(path.read_text())
    names: dict[str, Any] = {"__name__": __name__, "__doc__": ast.get_docstring(tree, clean=False)}
    for node in tree.body:
        if _is_light(node):
            lines = ast.Module([node], [])
            with suppress(NameError):
                exec(compile(lines, path, "exec", __future__.annotations.compiler_flag), names)
    before, sys.argv[0] = sys.argv[0], str(path)
    with suppress(NameError):
        names["main"]()
    sys.argv[0] = before


def _file(module: str) -> Path | None:
    """The file that `python -m module` runs."""
    here = Path(__file__).parent.parent / Path(*module.split("."))
    return next((path for path in (here.with_suffix(".py"), here / "__main__.py") if path.exists()), None)


def _is_light(node: ast.stmt) -> bool:
    """Whether it imports nothing but what comes with Python, or is as quick."""
    if isinstance(node, ast.Import):
        return all(alias.name.partition(".")[0] in sys.stdlib_module_names for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module in _LIGHT or (node.module or "").partition(".")[0] in sys.stdlib_module_names
    return True


_help_at_once()
