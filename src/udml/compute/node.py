"""What runs on the nodes of a cluster: whether a node can take part, and its workers. Without Ray."""

import os
import platform
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from udml.compute.work import Place, Work
from udml.errors import UdmlError, reason
from udml.files import SCRATCH, atomic_path

# Other versions of these may give other pixels, other vectors or other files.
PACKAGES = ("udml", "faiss-cpu", "numpy", "onnxruntime", "pillow", "pyarrow", "simplejpeg")


def versions() -> dict[str, str]:
    """The versions of Python and of what makes the files, "none" for what isn't there."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def get_ready(module: str) -> None:
    """Load what a worker will need into this process, which becomes one; a worker says what can't be had."""
    if module:
        with suppress(ImportError):
            import_module(module)


def look_around(
    workspace: str, inputs: list[str], question: str, answer: str, module: str = ""
) -> tuple[str, dict[str, str]]:
    """Whether this node sees the workspace: reads what its driver wrote, and writes something back.

    Args:
        workspace: absolute path.
        inputs: paths in the workspace that the driver sees.
        question: name in .scratch of a file that the driver wrote.
        answer: name in .scratch of the file to write, with what stands in the other.
        module: as for `get_ready`.

    Returns:
        What is wrong, empty if nothing is, and `versions`.
    """
    try:
        os.chdir(workspace)
        said = (SCRATCH / question).read_text()
        with atomic_path(SCRATCH / answer) as temporary:
            temporary.write_text(said)
    except OSError as error:
        return f"does not share {workspace} ({reason(error)})", versions()
    for path in inputs:
        if not Path(path).exists():
            return f"does not share {Path(workspace, path)}", versions()
    get_ready(module)
    return "", versions()


class Worker:
    """Does items of one kind of work after the other, one at a time, with what it opened once a kind."""

    def __init__(self, workspace: str, place: Place) -> None:
        """Nothing is opened yet."""
        self._workspace, self._place = workspace, place
        self._work: Work[Any, Any] | None = None
        self._tool: Any = None

    def open(self, work: Work[Any, Any]) -> Exception | None:
        """Open what all items of some work need; what went wrong is given back, not raised."""
        try:
            os.chdir(self._workspace)
            self._work, self._tool = work, work.open(self._place)
        except (UdmlError, OSError) as error:
            return _at_home(error)
        return None

    def do(self, item: Any) -> Exception | None:
        """Make the files of an item, unless another worker did meanwhile; errors as in `open`."""
        if self._work is None:
            raise RuntimeError("nothing is opened")
        try:
            if not self._work.is_done(item):
                self._work.do(self._tool, item, _count_nothing)
        except (UdmlError, OSError) as error:
            return _at_home(error)
        return None

    def rest(self) -> None:
        """Let go of what was opened: there may be no more work."""
        self._work = self._tool = None


def sendable(work: Work[Any, Any]) -> Work[Any, Any]:
    """The work without what this process has opened."""
    return replace(work, here=None)


def _count_nothing(_: int) -> None:
    """An item counts when it is done: what a lost node has half done is done again."""


def _at_home(error: Exception) -> Exception:
    """The error with the node's name in it."""
    if isinstance(error, UdmlError):
        return UdmlError(f"{error.what} (on node {platform.node()})", error.hint)
    return error
