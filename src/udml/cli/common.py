"""What the commands share: how one is added, and the types that its arguments have."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from udml.text import printable
from udml.walking.rules import WalkRules

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


def output_file(text: str) -> Path:
    """Type of an argument: a file to write, which can't be a folder."""
    if not text or Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{printable(text) or 'an empty name'} is a folder; name a file")
    return Path(text)


def at_least_one(text: str) -> int:
    """Type of an argument: a whole number of 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
