"""What every layout reader yields, and the few things they share."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from udml.errors import UdmlError
from udml.pixels import Reason
from udml.text import source_name
from udml.walking.rules import WalkRules
from udml.walking.walk import LeftOut, walk


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a data set.

    Attributes:
        path: where the file is.
        source: its name inside the data set: posix, printable (see `source_name`), unique.
        split: "train" or "test" where the layout publishes one, else None.
        role: "both", or "query" / "gallery" where the layout separates them.
        label: class name, else class id, else None.
        problem: reason why it cannot be imported, if that is known already.
        given: its cells of the layout's `given` columns, as text; None for an empty one.
    """

    path: Path
    source: str
    split: str | None = None
    role: str = "both"
    label: str | None = None
    problem: Reason | None = None
    given: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A data set.

    Attributes:
        name: of its layout.
        protocol: of its evaluation, in one line.
        items: its files.
        left_out: what of a folder is not among them; complete when all items were taken.
        because: why it was read by this layout.
        given: names of other columns of a manifest; complete when all items were taken.
    """

    name: str
    protocol: str
    items: Iterable[Item]
    left_out: LeftOut = field(default_factory=LeftOut)
    because: str = ""
    given: list[str] = field(default_factory=list)


class Walked:
    """Every file that `udml.walking.walk` finds in a folder, in its order: walked once, however often asked.

    Attributes:
        root: the folder.
        left_out: what of it is not among the files; complete when all were taken.
    """

    def __init__(self, root: Path, rules: WalkRules) -> None:
        self.root, self.left_out = root, LeftOut()
        self._rest = walk(root, rules, self.left_out)
        self._found: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        for position in count():
            if position == len(self._found):
                if (found := next(self._rest, None)) is None:
                    return
                name = source_name(found.relative)
                self._found.append(Item(found.path, name, problem=found.problem))
            yield self._found[position]


@dataclass(frozen=True)
class Reader:
    """A layout that can be read.

    Attributes:
        name: what `--layout` calls it.
        detect: whether a path (folder, or manifest file) has this layout. Cheap and never raises.
        read: the data set at a path. Raises UdmlError if an annotation file is missing or unreadable.
        walks: whether both take a `Walked` instead of a path: a layout of what folders hold.
        because: why a path is taken for it, as half a sentence, or what says so of what was walked.
    """

    name: str
    detect: Callable[..., bool]
    read: Callable[..., Layout]
    walks: bool = False
    because: str | Callable[[Walked], str] = "it holds the files that its authors ship"


def rows(path: Path, fields: int, separator: str | None = None, skip: int = 0) -> Iterator[list[str]]:
    """Fields of each line of an annotation file; blank lines are passed over.

    Args:
        path: the file.
        fields: how many fields each line must have.
        separator: between fields; None for white space.
        skip: heading lines to leave out.

    Raises:
        UdmlError: naming the file, and the line if one has another number of fields.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UdmlError(
            f"cannot read {path}: {error.strerror}", "check that the data set is complete"
        ) from error
    except UnicodeDecodeError as error:
        raise UdmlError(f"{path} is not text", "check that the data set is complete") from error
    for number, line in enumerate(lines[skip:], start=skip + 1):
        if not line.strip():
            continue
        values = [value.strip() for value in line.split(separator)]
        if len(values) != fields:
            raise UdmlError(
                f"{path}, line {number}: expected {fields} fields, found {len(values)}",
                "check that the file is the one its authors publish",
            )
        yield values


def whole(value: str, path: Path) -> int:
    """A class id read from `path` as a whole number."""
    try:
        return int(value)
    except ValueError as error:
        raise UdmlError(f"{path}: `{value}` is not a class id", "it must be a whole number") from error
