"""Commands about versions beside keeping them: signatures, and what others want to read of them."""

import argparse
import os

from udml import paths
from udml.cli.common import Commands, add_to, add_version_argument, given_path
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
    text = "copy versions as runs and models to MLflow: a server, a database or a folder of it"
    command = add_to(actions, "export-mlflow", _export_mlflow, text)
    command.add_argument("names", nargs="*", help="v1, v2, ... or champion (default: all)")
    command.add_argument("--to", required=True, metavar="URI", help="http(s)://, sqlite:///FILE, or a folder")
    command.add_argument("--experiment", default="udml", help="default: %(default)s")


def _export_mlflow(options: argparse.Namespace) -> None:
    from udml.registry.describing.mlflow import export

    copied = export(paths.MODELS, options.names, options.to, options.experiment)
    print(f"exported to {options.to}: {', '.join(copied) or 'nothing, it has them all'}")


def _card(options: argparse.Namespace) -> None:
    from udml.registry import commands

    commands.card(paths.MODELS, options.name)


def _report(options: argparse.Namespace) -> None:
    load_params()  # wrong ones are said before what follows is loaded
    from udml.registry import commands

    (commands.report if options.markdown else commands.challenge)(paths.MODELS)


def add_assistant(commands: Commands) -> None:
    """Add `mcp`."""
    text = "let an assistant search the collection: an MCP server on standard input and output"
    command = add_to(commands, "mcp", _mcp, text)
    command.description = f"{text}. It only reads; docs/assistants.md says how assistants start it."
    command.add_argument(
        "--allow",
        type=given_path,
        action="append",
        default=[],
        metavar="PATH",
        help="folder, or file, that pictures to search with may be read from (default: none)",
    )
    command.add_argument(
        "--workspace", type=given_path, metavar="FOLDER", help="where data/ and models/ are (default: here)"
    )
    add_version_argument(command)


def _mcp(options: argparse.Namespace) -> None:
    from udml.serving.assistant.server import serve_assistant

    allowed = [path.resolve() for path in options.allow]
    if options.workspace is not None:
        os.chdir(options.workspace)
    serve_assistant(options.version, allowed)


def _sign(options: argparse.Namespace) -> None:
    from udml.registry import commands

    commands.sign(paths.MODELS, options.name, options.key)
