"""The command `udml`: one thin command per pipeline stage and per use.

Heavy imports live inside the commands, so that `udml --help` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from udml import __version__
from udml.cli.judge import add_judge
from udml.cli.operations import add_assistant
from udml.cli.pipeline import add_pipeline
from udml.cli.refused import in_words
from udml.cli.search import add_searching
from udml.cli.service import add_service
from udml.cli.uses import add_uses
from udml.cli.versions import add_versions
from udml.text import accept_any_text


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
    except KeyboardInterrupt:
        print("udml: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `udml search ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if (said := in_words(error)) is None:
            raise
        print(f"udml: {said}", file=sys.stderr)
        return 1


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
    for add in (add_pipeline, add_searching, add_uses, add_versions, add_judge, add_service, add_assistant):
        add(commands)
    return parser
