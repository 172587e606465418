"""Commands about versions beside keeping them: signatures, and what others want to read of them."""

import argparse

from udml import paths
from udml.cli.common import Commands, add_to, given_path
from udml.config import load_params


def add_documents(actions: Commands) -> None:
    """Add the actions of `udml models` that sign and describe versions."""
    command = add_to(actions, "sign", _sign, "sign a version with a private key; see docs/signing.md")
    command.add_argument("name", help="v1, v2, ... or champion")
    command.add_argument("--key", type=given_path, required=True, help="private key, PEM, elliptic curve")
    command = add_to(actions, "card", _card, "a version's model card, in Markdown")
    command.add_argument("name", help="v1, v2, ... or champion")
    command = add_to(actions, "report", _report, "challenge the champion, and print what came of it")
    command.add_argument("--markdown", action="store_true", help="for a comment on a pull request")


def _card(options: argparse.Namespace) -> None:
    from udml.registry import commands

    commands.card(paths.MODELS, options.name)


def _report(options: argparse.Namespace) -> None:
    load_params()  # wrong ones are said before what follows is loaded
    from udml.registry import commands

    (commands.report if options.markdown else commands.challenge)(paths.MODELS)


def _sign(options: argparse.Namespace) -> None:
    from udml.registry import commands

    commands.sign(paths.MODELS, options.name, options.key)
