"""Commands to start with: `init`, a workspace, and `quickstart`, all the way to a search page."""

import argparse
from pathlib import Path

from udml.cli.common import Commands, add_to, given_path


def add_start(commands: Commands) -> None:
    """Add `init` and `quickstart`."""
    text = "make a workspace: stages, settings and flows, with git and DVC"
    command = add_to(commands, "init", _init, text)
    command.add_argument("directory", type=given_path, metavar="DIR", help="empty, or not there yet")
    _add_quickstart(commands)


def _add_quickstart(commands: Commands) -> None:
    text = "from a folder of pictures to an open search page, in one command"
    command = add_to(commands, "quickstart", _quickstart, text)
    command.description = (
        f"{text}: makes a workspace, imports, runs the pipeline, makes the result the champion, serves it on "
        "this machine and opens the browser. Run again, it goes on where it stopped, and takes new ones in."
    )
    command.add_argument(
        "folder",
        type=given_path,
        nargs="?",
        metavar="FOLDER",
        help="of pictures (default: the sample)",
    )
    command.add_argument(
        "--workspace", type=given_path, metavar="DIR",
        help="where everything is kept (default: udml-NAME here, NAME being the folder's)",
    )  # fmt: skip
    command.add_argument("--port", type=int, default=8000, help="default: %(default)s, or a free one")
    command.add_argument("--no-browser", action="store_true", help="only say the page's address")


def _init(options: argparse.Namespace) -> None:
    from udml.workspace.start import start_workspace

    print(start_workspace(options.directory))
    print("next: go there; README.md has the rest in ten lines")


def _quickstart(options: argparse.Namespace) -> None:
    from udml.quickstart.quickstart import Wanted, default_workspace, quickstart

    folder: Path | None = options.folder
    if folder is not None and not folder.is_dir():
        from udml.errors import UdmlError
        from udml.text import printable

        raise UdmlError(f"{printable(folder)} is no folder", "name a folder of pictures")
    workspace = options.workspace or default_workspace(folder)
    quickstart(
        Wanted(folder and folder.resolve(), workspace.absolute(), options.port, not options.no_browser)
    )
