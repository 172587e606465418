"""What a person wants left out: globs on the command line, and files that name globs."""

import fnmatch
import os
from dataclasses import dataclass

IGNORE_FILE = ".udmlignore"


@dataclass(frozen=True)
class WalkRules:
    """How folders are walked.

    Attributes:
        follow_links: whether links that lead out of the folder are followed, too.
        exclude: globs. One without a slash is compared with the name of every file and folder, one with a
            slash with the path inside the folder; `*` matches slashes, too.
    """

    follow_links: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Globs:
    """Globs in order, the last that matches decides; one that begins with `!` lets in again.

    Attributes:
        base: folder, inside the one walked, whose content they speak of.
        globs: as in `WalkRules.exclude`; one that ends in a slash matches folders only.
    """

    base: str
    globs: tuple[str, ...]

    def leaves_out(self, relative: str, is_folder: bool) -> bool | None:
        """True or False where a glob matches, None where none does."""
        inside = os.path.relpath(relative, self.base) if self.base else relative
        verdict = None
        for glob in self.globs:
            pattern = glob.removeprefix("!")
            if pattern.endswith("/") and not is_folder:
                continue
            if _matches(inside, pattern.rstrip("/")):
                verdict = not glob.startswith("!")
        return verdict


def read_ignore_file(folder: str, base: str) -> Globs | None:
    """The globs of a folder's `.udmlignore`, a line each; `#` begins a comment. None if there is none."""
    try:
        with open(os.path.join(folder, IGNORE_FILE), encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = [line.strip() for line in file]
    except OSError:
        return None
    return Globs(base, tuple(line for line in lines if line and not line.startswith("#")))


def _matches(inside: str, pattern: str) -> bool:
    if "/" in pattern:
        return fnmatch.fnmatchcase(inside, pattern.lstrip("/"))
    return fnmatch.fnmatchcase(os.path.basename(inside), pattern)
