"""Errors that a person can mend, in a sentence or two: the one place where the commands' errors become words.

What the system refused is known whichever library passed it on: Python, Arrow, SQLite, FAISS, safetensors
and ONNX each have an error of their own for the same full disk.
"""

import errno
import os
import re
import tempfile
from pathlib import Path

from udml import paths
from udml.errors import UdmlError, install_hint
from udml.files import no_room_beside
from udml.text import printable, printable_lines

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HINTS = {
    errno.EROFS: "the disk can't be written; work in a folder on another one",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EADDRINUSE: "choose another port",
}
_NUMBERED = re.compile(r"\b(?:errno|os error) (\d+)\b", re.IGNORECASE)
# SQLite has words of its own; others say what the system says.
_WORDS = {
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
    **{os.strerror(code): code for code in (*_NO_ROOM, *_HINTS)},
}
_TEMPORARY = re.compile(r"(?:^|(?<=/))\.([^/]+)\.\d+(?:-[0-9a-f]{8})?\.tmp")


def in_words(error: Exception) -> str | None:
    """What is wrong, where, and what to do; None for an error in udml itself, which needs its traceback."""
    match error:
        case UdmlError():
            return printable_lines(str(error))
        case ModuleNotFoundError(name=str(name)) if not name.startswith("udml"):
            return f"this needs the package {name}\n  -> {install_hint('pipeline')}"
        case MemoryError():
            return "not enough memory\n  -> end other programs, or use a larger machine"
    return _of_the_system(error)


def _of_the_system(error: Exception) -> str | None:
    code = _code(error)
    if code is None and not isinstance(error, OSError):
        return None
    where = _where(error)
    if code in _NO_ROOM:
        assert code is not None
        place = where or ", ".join(_full_disks())
        return (
            f"no room to write{' ' if place else ''}{place}: {os.strerror(code)}\n"
            "  -> free some space, then run it again"
        )
    hint = _HINTS.get(code or 0, "check the path, then run it again" if where else "run it again")
    what = os.strerror(code) if code and code > 0 else _known(printable(str(error)))
    return f"{what}{': ' if where else ''}{where}\n  -> {hint}"


def _code(error: BaseException) -> int | None:
    """The number of the system's error behind this one: its own, or one that its text tells of."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    said = str(error)
    if numbered := _NUMBERED.search(said):
        return int(numbered[1])
    return next((code for words, code in _WORDS.items() if words in said), None)


def _where(error: Exception) -> str:
    """The file that was to be read or written, as people know it; else what else the error says."""
    if not isinstance(error, OSError):
        return _known(printable(str(error)))
    name = error.filename2 if error.errno in _NO_ROOM and error.filename2 else error.filename
    if name is None and error.errno is None:
        return _known(printable(str(error)))
    return _known(printable(os.fsdecode(name))) if isinstance(name, str | bytes | os.PathLike) else ""


def _known(text: str) -> str:
    """Without the names that files have until they are whole."""
    return _TEMPORARY.sub(r"\1", text)


def _full_disks() -> list[str]:
    """Those of the places written to that lie on a disk without room."""
    places = [Path.cwd(), paths.DATA, paths.ARTIFACTS, paths.MODELS, Path(tempfile.gettempdir())]
    there = [place for place in places if place.exists()]
    return [str(place) for place in there if no_room_beside(place.absolute() / "x")][:1]
