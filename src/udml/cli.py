"""The command `udml`: one thin command per pipeline stage and per use.

Heavy imports live inside the commands, so that `udml --help` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from udml import __version__, paths
from udml.errors import UdmlError

Command = Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for an error the user can mend, 130 when interrupted."""
    _respect_privacy()
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except UdmlError as error:
        print(f"udml: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("udml: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `udml search ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


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
    _add_data(commands)
    _add_preset(commands)
    for name, (run, help_text) in _STAGES.items():
        _add(commands, name, run, f"stage: {help_text}")
    _add_embed(commands)
    _add_search(commands)
    _add_report(commands)
    return parser


def _add(commands: argparse._SubParsersAction, name: str, run: Command, help_text: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]
    command: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(run=run)
    return command


# --- data and settings ----------------------------------------------------------------------------


def _add_data(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    data = commands.add_parser("data", help="bring images in")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    command = _add(actions, "import", _import, "copy images into data/, as shards that DVC tracks")
    command.add_argument("source", help="a folder, a CSV or Parquet manifest, or `places` for the built-in sample")
    command.add_argument("--layout", help="how the folder is laid out (default: detected)")


def _import(options: argparse.Namespace) -> None:
    from udml.data.importing import import_data

    sample = options.source == "places" and options.layout in (None, "places")
    source = None if sample else Path(options.source)
    print(import_data(source, "places" if sample else options.layout, paths.DATA))


def _add_preset(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    command = _add(commands, "preset", _preset, "print a complete params.yaml: laptop, or the paper's own numbers")
    command.add_argument("name", choices=("laptop", "paper"))
    command.add_argument("--write", action="store_true", help="write it to params.yaml instead")


def _preset(options: argparse.Namespace) -> None:
    from importlib.resources import files

    from udml.config import PARAMS_FILE
    from udml.files import atomic_path

    text = (files("udml") / "presets" / f"{options.name}.yaml").read_text()
    if not options.write:
        print(text, end="")
        return
    with atomic_path(PARAMS_FILE) as temporary:
        temporary.write_text(text)
    print(f"wrote {PARAMS_FILE}; `git diff {PARAMS_FILE}` shows what changed, `dvc repro` runs it")


# --- stages ---------------------------------------------------------------------------------------


def _prepare(options: argparse.Namespace) -> None:
    from udml.config import load_params
    from udml.data.prepare import prepare

    prepare(paths.DATA, paths.PREPARED, load_params().prepare)


def _validate(options: argparse.Namespace) -> None:
    from udml.config import load_params
    from udml.data.validate import validate

    validate(paths.PREPARED, paths.VALIDATED, load_params().validate)


def _train(options: argparse.Namespace) -> None:
    from udml.config import load_params
    from udml.learning.train import train

    train(paths.PREPARED, paths.TRAINED, paths.LIVE, load_params().train)


def _export(options: argparse.Namespace) -> None:
    from udml.config import load_params
    from udml.export.export import export

    export(paths.TRAINED, paths.PREPARED, paths.DATA, paths.EXPORTED, load_params().export)


def _index(options: argparse.Namespace) -> None:
    from udml.config import load_params
    from udml.retrieval.index import index

    index(paths.EXPORTED, paths.PREPARED, paths.INDEXED, load_params().index)


def _evaluate(options: argparse.Namespace) -> None:
    from udml.retrieval.evaluate import evaluate_workspace

    evaluate_workspace()


_STAGES: dict[str, tuple[Command, str]] = {
    "prepare": (_prepare, "decode every image once, find duplicates, split; bad files go to quarantine"),
    "validate": (_validate, "check the catalogue before anything is trained on it"),
    "train": (_train, "learn the embedding from unlabelled images"),
    "export": (_export, "write the ONNX model and prove that it gives the same vectors"),
    "index": (_index, "embed every image with the ONNX model and build the search index"),
    "evaluate": (_evaluate, "score what ships beside the frozen backbone, and write the report"),
}
