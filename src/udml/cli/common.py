"""What the commands share: how one is added, and the types that its arguments have."""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from udml.errors import UdmlError
from udml.text import printable
from udml.walking.rules import WalkRules
from udml.walking.told import say_how_many, say_left_out

if TYPE_CHECKING:
    from udml.search.embedder import EmbeddedFiles, FileProblem

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Command = Callable[[argparse.Namespace], int | None]


def add_to(commands: Commands, name: str, run: Command, help_text: str) -> argparse.ArgumentParser:
    """Add a command that calls `run` with its options."""
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(run=run)
    return command


def add_walk_arguments(command: argparse.ArgumentParser) -> None:
    """Add what says which files of a folder count."""
    command.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help="leave out files and folders of this name, or path inside the folder; may be repeated "
        "(a file .udmlignore does the same, a glob a line)",
    )
    command.add_argument(
        "--follow-links", action="store_true", help="follow links that lead out of the folder, too"
    )


def walk_rules(options: argparse.Namespace) -> WalkRules:
    """What `add_walk_arguments` added, as given."""
    return WalkRules(options.follow_links, tuple(options.exclude))


def add_version_argument(command: argparse.ArgumentParser) -> None:
    """Add what names a version; `udml.registry.chosen` tells what it may be."""
    command.add_argument(
        "--version",
        metavar="NAME",
        help="champion, v1, v2, ..., or workspace, what the pipeline made last "
        "(default: the champion, or before there is one, the workspace)",
    )


def files_of(options: argparse.Namespace) -> list[Path]:
    """The image files among the paths given, and below them."""
    from udml.walking.given import given_files

    return [found.path for found in given_files(options.paths, walk_rules(options))]


def require_images(embedded: "EmbeddedFiles") -> None:
    """Say which files were left out, and why.

    Raises:
        UdmlError: if that leaves none.
    """
    name_left_out(embedded.problems)
    if not embedded.paths:
        raise UdmlError("none of these files is a usable image", "name pictures, or a folder of them")


def name_left_out(problems: "Sequence[FileProblem]") -> None:
    """Say which files were left out, and why."""
    told: Counter[str] = Counter()
    for problem in problems:
        say_left_out(told, problem.path, f"{problem.reason.sentence}: {problem.detail}")
    say_how_many(told)


def given_path(text: str) -> Path:
    """Type of an argument: a file or folder to read."""
    from udml.walking import given

    try:
        return given.given_path(text)
    except UdmlError as error:
        raise argparse.ArgumentTypeError(error.what) from error


def output_file(text: str) -> Path:
    """Type of an argument: a file to write, which can't be a folder."""
    if not text or Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{printable(text) or 'an empty name'} is a folder; name a file")
    there = next(parent for parent in Path(text).absolute().parents if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):  # said before the work, not after it
        raise argparse.ArgumentTypeError(f"{printable(text)} can't be written: check {printable(there)}")
    return Path(text)


def at_least_one(text: str) -> int:
    """Type of an argument: a whole number of 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
