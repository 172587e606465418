"""Commands about versions beside keeping them: signatures, and what others want to read of them."""

import argparse

from udml import paths
from udml.cli.common import Commands, add_to, given_path


def add_documents(actions: Commands) -> None:
    """Add the actions of `udml models` that sign and describe versions."""
    command = add_to(actions, "sign", _sign, "sign a version with a private key; see docs/signing.md")
    command.add_argument("name", help="v1, v2, ... or champion")
    command.add_argument("--key", type=given_path, required=True, help="private key, PEM, elliptic curve")


def _sign(options: argparse.Namespace) -> None:
    from udml.registry import commands

    commands.sign(paths.MODELS, options.name, options.key)
