"""The files that a command was given: by name, or by the folder they lie in."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from udml.errors import UdmlError
from udml.text import printable
from udml.walking.rules import WalkRules
from udml.walking.told import say_how_many, say_left_out
from udml.walking.walk import Found, LeftOut, walk


def given_path(text: str) -> Path:
    """A file or folder as a person named it.

    Raises:
        UdmlError: for an empty name: as a path it would be the current folder.
    """
    if not text:
        raise UdmlError("an empty name is neither a file nor a folder", "name one, or `.` for this folder")
    return Path(text)


def given_files(given: Sequence[Path], rules: WalkRules) -> list[Found]:
    """Files as they are; of folders, every file below that may be a picture. What is left out is said.

    Folders that cannot be read and links to nothing are named on stderr and not among the result.

    Raises:
        UdmlError: if one does not exist, or there is none in all.
    """
    found: list[Found] = []
    left_out = LeftOut()
    for path in given:
        if path.is_dir():
            found += walk(path, rules, left_out)
        elif path.exists():
            found.append(Found(path, path.name))
        else:
            raise UdmlError(f"no such file or folder: {printable(path)}", "check the path")
    for line in left_out.lines():
        print(line, file=sys.stderr)
    told: Counter[str] = Counter()
    for item in found:
        if item.problem is not None:
            say_left_out(told, item.path, item.problem.sentence)
    say_how_many(told)
    usable = [item for item in found if item.problem is None]
    if not usable:
        names = ", ".join(map(printable, given))
        raise UdmlError(f"no pictures in {names}", "name a folder that holds images")
    return usable
