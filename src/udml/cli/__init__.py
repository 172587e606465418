"""The command `udml`: one thin command per pipeline stage and per use.

Heavy imports live inside the commands, so that `udml --help` answers at once.
"""

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from udml import __version__
from udml.cli.pipeline import add_pipeline
from udml.cli.search import add_searching
from udml.cli.service import add_service
from udml.cli.uses import add_uses
from udml.cli.versions import add_versions
from udml.errors import UdmlError, install_hint
from udml.text import accept_any_text, printable, printable_lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0, 1 for an error the user can mend, 130 when interrupted; `monitor` adds 3 for drift and 4 for too
    few images.
    """
    _respect_privacy()
    accept_any_text()
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except UdmlError as error:
        print(f"udml: {printable_lines(str(error))}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("udml"):
            raise
        print(f"udml: this needs the package {error.name}\n  -> {install_hint('pipeline')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("udml: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `udml search ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"udml: {_of_the_system(error)}", file=sys.stderr)
        return 1


def _of_the_system(error: OSError) -> str:
    """What the system refused, in a sentence or two."""
    where = f": {printable(str(error.filename))}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"no room to write: {printable(str(error))}\n  -> free some space, then run it again"
    hint = {
        errno.EROFS: "the disk can't be written; work in a folder on another one",
        errno.EACCES: "check its permissions",
        errno.EPERM: "check its permissions",
        errno.EISDIR: "it is a folder; name a file",
        errno.ENOTDIR: "a part of the path is a file",
        errno.EADDRINUSE: "choose another port",
    }.get(error.errno or 0, "check the path, then run it again")
    return f"{error.strerror or printable(str(error))}{where}\n  -> {hint}"


def _respect_privacy() -> None:
    """No telemetry and no downloads behind the user's back, unless the environment says otherwise."""
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="udml", description="Learn a retrieval embedding from unlabelled images and search with it."
    )
    parser.add_argument("--version", action="version", version=f"udml {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (add_pipeline, add_searching, add_uses, add_versions, add_service):
        add(commands)
    return parser
