"""Commands about versions: `models`, and `retrain`, which makes the next one."""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from udml import paths
from udml.cli.common import Commands, add_to, given_path, output_file
from udml.cli.operations import add_documents
from udml.config import load_params
from udml.errors import UdmlError
from udml.text import printable

DEFAULT_PAGE = Path("LINEAGE")  # stands for a name made of the version's


def add_versions(commands: Commands) -> None:
    """Add `models` and `retrain`."""
    _add_models(commands)
    text = "train on what is new, and promote the result if it is better"
    add_to(commands, "retrain", _retrain, text)


def _add_models(commands: Commands) -> None:
    models = commands.add_parser("models", help="keep versions of what serves; promote one, or go back")
    actions = models.add_subparsers(required=True, metavar="ACTION", dest="action")
    add_to(actions, "register", _models, "keep the workspace's model, index and figures as a version")
    add_to(actions, "challenge", _challenge, "say whether the workspace's model would be promoted, and why")
    add_to(actions, "list", _models, "the versions; * marks the champion")
    command = add_to(actions, "show", _models, "what a version is, and its files")
    command.add_argument("name", help="v1, v2, ... or champion")
    command.add_argument(
        "--lineage",
        nargs="?",
        const=DEFAULT_PAGE,
        type=output_file,
        metavar="FILE",
        help="write a page of where it came from (default: v3-lineage.html)",
    )
    command = add_to(actions, "diff", _models, "settings, figures, neighbours that two versions don't share")
    command.add_argument("before", help="v1, v2, ... or champion")
    command.add_argument("after", help="v1, v2, ... or champion")
    command = add_to(actions, "promote", _models, "make a version the champion, all of it at once")
    command.add_argument("name", help="v1, v2, ...")
    command.add_argument("--reason", default="", help="kept in the log")
    command = add_to(actions, "rollback", _models, "make the last champion the champion again")
    command.add_argument("--reason", default="", help="kept in the log")
    command = add_to(actions, "verify", _models, "compare versions with what was registered")
    command.add_argument("names", nargs="*", help="v1, v2, ... or champion (default: all)")
    command.add_argument("--key", type=given_path, help="and with what this public key's owner signed")
    command = add_to(actions, "push", _models, "copy versions to the default DVC remote")
    command.add_argument("names", nargs="*", help="v1, v2, ... (default: all)")
    command = add_to(actions, "pull", _models, "copy versions from the default DVC remote, and verify them")
    command.add_argument("names", nargs="*", help="v1, v2, ... (default: all)")
    add_to(actions, "log", _models, "what was registered, promoted and rolled back, and why")
    add_documents(actions)


def _show(options: argparse.Namespace) -> None:
    from udml.registry import commands

    if options.lineage is None:
        commands.show(paths.MODELS, options.name)
    else:
        commands.lineage(
            paths.MODELS, options.name, None if options.lineage == DEFAULT_PAGE else options.lineage
        )


def _challenge(_: argparse.Namespace) -> None:
    load_params()  # wrong ones are said before what follows is loaded
    from udml.registry import commands

    commands.challenge(paths.MODELS)


def _models(options: argparse.Namespace) -> None:
    from udml.registry import commands

    match options.action:
        case "register":
            commands.register(paths.MODELS)
        case "list":
            commands.show_list(paths.MODELS)
        case "show":
            _show(options)
        case "diff":
            commands.diff(paths.MODELS, options.before, options.after)
        case "promote":
            commands.promote(paths.MODELS, options.name, options.reason)
        case "rollback":
            commands.rollback(paths.MODELS, options.reason)
        case "verify":
            commands.verify(paths.MODELS, options.names, options.key)
        case "push" | "pull":
            getattr(commands, options.action)(paths.MODELS, options.names)
        case "log":
            commands.show_log(paths.MODELS)


def _retrain(options: argparse.Namespace) -> None:
    load_params()
    from udml.processes import run_command

    # with a Prefect server at hand, a run that finds nothing new is recorded there too
    if "PREFECT_API_URL" not in os.environ and _nothing_new():
        return
    if not Path("flows", "retrain.py").exists() and find_spec("flows") is None:
        here = printable(Path.cwd())
        raise UdmlError(f"there is no flows/ in {here}", "run it from the top of a checkout of udml")
    try:
        run_command([sys.executable, "-m", "flows.retrain"], lambda line: print(line, flush=True))
    except UdmlError:  # its lines were printed as they came
        raise UdmlError("nothing was retrained; why is said above", "see docs/retraining.md") from None


def _nothing_new() -> bool:
    """Whether there is nothing to train on; says so, and tells whom it concerns."""
    from udml.notifying.notice import tell
    from udml.registry.changes import check_for_news
    from udml.registry.lease import LeaseTaken

    def skipped(said: str) -> None:
        tell("skipped", said, Path(), lambda line: print(line, file=sys.stderr), flow="retrain")

    try:
        said = check_for_news(Path())
    except LeaseTaken as taken:
        skipped(taken.what)
        raise
    if said:
        print(said)
        skipped(said)
    return bool(said)
