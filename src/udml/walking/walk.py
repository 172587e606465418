"""Every file below a folder that may be a picture: the walker of import, index, search, embed, monitor."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from udml.errors import UdmlError
from udml.formats.reasons import Reason
from udml.text import printable
from udml.walking.clutter import file_kind, folder_kind, is_no_picture
from udml.walking.rules import IGNORE_FILE, Globs, WalkRules, read_ignore_file

HIDDEN = "hidden files and folders"
EXCLUDED = f"excluded by --exclude or {IGNORE_FILE}"
LEADS_OUT = "links that lead out of the folder (--follow-links follows them)"
AGAIN = "links to a folder that was read already"
NO_PICTURE = "no pictures, by name and by content"
SPECIAL = "pipes, sockets and devices"


@dataclass(frozen=True, slots=True)
class Found:
    """One file. `relative` is its name below the folder that was walked; `problem` why it has no content."""

    path: Path
    relative: str
    problem: Reason | None = None


@dataclass
class LeftOut:
    """What a walk left out: how many of each kind, and the first of them."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """Count one."""
        self.counts[kind] += 1
        self.first.setdefault(kind, name)

    def lines(self) -> list[str]:
        """A line for each kind, most frequent first."""
        return [
            f"left out {count:,} {kind}, first {printable(self.first[kind])}"
            for kind, count in sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))
        ]


def walk(root: Path, rules: WalkRules, left_out: LeftOut) -> Iterator[Found]:
    """Every file below `root` in a fixed order, less what is hidden, clutter, excluded or no picture.

    Links to files inside are read. Links to folders are followed after all that is not behind a link, each
    real folder once. Links that lead out of `root` are left out unless `rules` say to follow them. Links to
    nothing, and folders that cannot be listed, come with a problem.

    Args:
        root: an existing folder.
        rules: what to exclude, which links to follow.
        left_out: is told of everything that is left out.

    Raises:
        UdmlError: if `root` itself cannot be listed.
    """
    try:
        os.scandir(root).close()
    except OSError as error:
        raise UdmlError(
            f"cannot read {printable(root)}: {error.strerror}", "check its permissions"
        ) from error
    yield from _Walk(root, rules, left_out).run()


@dataclass(frozen=True, slots=True)
class _Below:
    """A folder whose files come next, and what was said of names on the way to it."""

    relative: str
    globs: tuple[Globs, ...]


class _Walk:
    """One walk: what was seen, and the links that wait until the rest is done."""

    def __init__(self, root: Path, rules: WalkRules, left_out: LeftOut) -> None:
        self._root = str(root)
        self._real_root = os.path.realpath(root)
        self._rules = rules
        self._left_out = left_out
        self._seen: set[tuple[int, int]] = set()
        self._links: list[_Below] = []

    def run(self) -> Iterator[Found]:
        yield from self._all_below(_Below("", (Globs("", self._rules.exclude),)))
        while self._links:
            below = self._links.pop(0)
            if self._is_new(below.relative):
                yield from self._all_below(below)
            else:
                self._left_out.add(AGAIN, below.relative)

    def _all_below(self, folder: _Below) -> Iterator[Found]:
        """Everything in a folder, however deep: folders are nested deeper than functions can be."""
        under_way = [self._folder(folder.relative, folder.globs)]
        while under_way:
            match next(under_way[-1], None):
                case None:
                    under_way.pop()
                case _Below(relative, globs):
                    under_way.append(self._folder(relative, globs))
                case Found() as found:
                    yield found

    def _is_new(self, folder: str) -> bool:
        try:
            facts = os.stat(os.path.join(self._root, folder))
        except OSError:  # it will be named where it cannot be listed
            return True
        return (facts.st_dev, facts.st_ino) not in self._seen

    def _folder(self, folder: str, globs: tuple[Globs, ...]) -> Iterator[Found | _Below]:
        path = os.path.join(self._root, folder)
        try:
            facts = os.stat(path)
            with os.scandir(path) as listing:
                entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
        except OSError:
            yield Found(Path(path), folder + "/", Reason.UNREADABLE)
            return
        self._seen.add((facts.st_dev, facts.st_ino))
        own = read_ignore_file(path, folder)
        globs = (*globs, own) if own else globs
        for entry in entries:
            relative = os.path.join(folder, entry.name)
            if not self._is_left_out(entry, relative, globs):
                yield from self._entry(entry, relative, globs)

    def _entry(
        self, entry: os.DirEntry[str], relative: str, globs: tuple[Globs, ...]
    ) -> Iterator[Found | _Below]:
        if entry.is_symlink():
            if not os.path.exists(entry.path):
                yield Found(Path(entry.path), relative, Reason.MISSING)
                return
            if not self._rules.follow_links and not self._is_inside(entry.path):
                self._left_out.add(LEADS_OUT, f"{relative} -> {os.path.realpath(entry.path)}")
                return
            if entry.is_dir():
                self._links.append(_Below(relative, globs))
                return
        if entry.is_dir():
            if self._is_new(relative):  # not so below a link to a folder of which a part was read
                yield _Below(relative, globs)
            else:
                self._left_out.add(AGAIN, relative)
        elif not entry.is_file():
            self._left_out.add(SPECIAL, relative)
        elif is_no_picture(entry.path):
            self._left_out.add(NO_PICTURE, relative)
        else:
            yield Found(Path(entry.path), relative)

    def _is_inside(self, path: str) -> bool:
        return os.path.commonpath((self._real_root, os.path.realpath(path))) == self._real_root

    def _is_left_out(self, entry: os.DirEntry[str], relative: str, globs: tuple[Globs, ...]) -> bool:
        """Whether the name alone says so; a person's word counts before what is known as clutter."""
        if entry.name == IGNORE_FILE:
            return True
        is_folder = _is_folder(entry)
        verdict = None
        for some in globs:
            one = some.leaves_out(relative, is_folder)
            verdict = verdict if one is None else one
        kind = (folder_kind if is_folder else file_kind)(entry.name) or (
            HIDDEN if entry.name.startswith(".") else None
        )
        kind = {None: kind, True: EXCLUDED, False: None}[verdict]
        if kind is None:
            return False
        self._left_out.add(kind, relative)
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in circles
        return False
