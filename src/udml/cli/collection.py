"""`udml index add | remove | compact`: change what the champion searches, without training."""

import argparse

from udml.cli.common import add_to, add_walk_arguments, given_path, walk_rules
from udml.cli.shared import add_push


def add_index_actions(command: argparse.ArgumentParser) -> None:
    """`udml index` alone is the stage; with an action it changes what the champion searches."""
    actions = command.add_subparsers(metavar="ACTION", dest="action")
    add = add_to(actions, "add", _change_index, "add images to the champion's collection, without training")
    add.add_argument("paths", nargs="+", type=given_path, help="image files or folders")
    add_walk_arguments(add)
    remove = add_to(actions, "remove", _change_index, "remove images from the champion's collection")
    remove.add_argument(
        "names", nargs="+", metavar="ID|SOURCE", help="ids, or paths inside the imported folder"
    )
    compact = add_to(actions, "compact", _change_index, "fold what was added and removed into a new champion")
    compact.add_argument(
        "--min-share", type=float, default=0.0, help="only if at least this share has changed (default: 0)"
    )
    add_push(actions)


def _change_index(options: argparse.Namespace) -> None:
    from udml.serving.engine import index_commands

    match options.action:
        case "add":
            index_commands.add(options.paths, walk_rules(options))
        case "remove":
            index_commands.remove(options.names)
        case "compact":
            index_commands.compact(options.min_share)
