"""Commands of the pipeline: bring images in, choose settings, run one stage."""

import argparse
from functools import partial
from pathlib import Path

from udml import paths
from udml.cli.collection import add_index_actions
from udml.cli.common import Command, Commands, add_to, add_walk_arguments, given_path, walk_rules
from udml.config import PARAMS_FILE, load_params
from udml.errors import UdmlError
from udml.text import printable
from udml.workspace.code import link_code


def add_pipeline(commands: Commands) -> None:
    """Add `data`, `preset` and a command per stage."""
    _add_data(commands)
    _add_preset(commands)
    for name, (run, help_text) in _STAGES.items():
        command = add_to(commands, name, run, f"stage: {help_text}")
        if name == "index":
            add_index_actions(command)


def _add_data(commands: Commands) -> None:
    data = commands.add_parser("data", help="bring images in")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    command = add_to(actions, "import", _import, "copy images into data/, as shards that DVC tracks")
    command.add_argument(
        "source",
        type=given_path,
        help="a folder, a CSV or Parquet manifest, or `places`, the built-in sample",
    )
    command.add_argument("--layout", help="how the folder is laid out (default: detected)")
    add_walk_arguments(command)
    add_to(actions, "ensure", _ensure, "have data: what is here, else from the DVC remote, else `places`")


def _import(options: argparse.Namespace) -> None:
    _require_project()
    from udml.data.importing.importer import import_data
    from udml.data.importing.manifest import what_is_there
    from udml.data.importing.tracking import pointer_of

    sample = str(options.source) == "places" and options.layout in (None, "places")
    source = None if sample else options.source
    version, held = what_is_there(paths.DATA)
    if held:
        kept = "; DVC's cache keeps them" if pointer_of(paths.DATA).exists() else ""
        print(f"replaces what is in {paths.DATA}/: {held}{kept}", flush=True)
    from udml.registry.originals import keep_originals

    summary = import_data(
        source,
        "places" if sample else options.layout,
        paths.DATA,
        walk_rules(options),
        partial(keep_originals, paths.MODELS),
    )
    print("\n".join(map(printable, summary.lines())))
    if summary.data_version == version:
        print("these are the data that were there before: nothing is new")
    print("next: `dvc repro` prepares them, trains, and builds the index")


def _require_project() -> None:
    if not Path("dvc.yaml").exists():
        raise UdmlError(
            f"{printable(Path.cwd())} is no project of udml: there is no dvc.yaml",
            "go to the top of the project; the images are kept in its data/; `udml init DIR` makes one",
        )
    link_code(Path())


def _ensure(options: argparse.Namespace) -> None:
    _require_project()
    from udml.data.importing.ensure import ensure_data

    print(ensure_data(paths.DATA))


def _add_preset(commands: Commands) -> None:
    command = add_to(commands, "preset", _preset, "print complete settings: for a laptop, or the paper's own")
    command.add_argument("name", choices=("laptop", "paper"))
    command.add_argument("--write", action="store_true", help="write it to params.yaml instead")


def _preset(options: argparse.Namespace) -> None:
    from importlib.resources import files

    from udml.files import atomic_path

    text = (files("udml") / "presets" / f"{options.name}.yaml").read_text()
    if not options.write:
        print(text, end="")
        return
    with atomic_path(PARAMS_FILE) as temporary:
        temporary.write_text(text)
    print(f"wrote {PARAMS_FILE}; `git diff {PARAMS_FILE}` shows what changed, `dvc repro` runs it")


# Settings are read before a stage's code is loaded, which takes seconds: wrong ones are said at once.
def _prepare(options: argparse.Namespace) -> None:
    params = load_params()
    from udml.compute.engine import engine_of

    run = engine_of(params.compute, "udml.data.decode_pool", each_core=True)
    from udml.data.prepare import counts_line, prepare

    print(counts_line(prepare(paths.DATA, paths.PREPARED, params.prepare, run)))


def _validate(options: argparse.Namespace) -> None:
    params = load_params().validate
    from udml.data.validation.validate import validate

    validate(paths.PREPARED, paths.VALIDATED, params)


def _train(options: argparse.Namespace) -> None:
    params = load_params().train
    if params.weights and not Path(params.weights).is_file():
        raise UdmlError(f"train.weights: no file {params.weights}", "check the path, or set it to null")
    from udml.judgement.answers import read_answers
    from udml.learning.train import train

    said = read_answers().verdicts() if params.use_judgements else []
    train(paths.PREPARED, paths.TRAINED, paths.LIVE, params, said)


def _export(options: argparse.Namespace) -> None:
    params = load_params().export
    from udml.export.export import export

    export(paths.TRAINED, paths.PREPARED, paths.DATA, paths.EXPORTED, params)


def _index(options: argparse.Namespace) -> None:
    params = load_params()
    from udml.compute.engine import engine_of

    run = engine_of(params.compute, "udml.search.chunks")
    from udml.search.index import index

    index(paths.EXPORTED, paths.PREPARED, paths.INDEXED, params.index, run)


def _evaluate(options: argparse.Namespace) -> None:
    params = load_params()
    from udml.evaluation.evaluate import evaluate
    from udml.registry.judged.models import judged_standing
    from udml.report.report import report_workspace

    evaluation = evaluate(params)
    report_workspace(evaluation, params, judged_standing(paths.MODELS))


_STAGES: dict[str, tuple[Command, str]] = {
    "prepare": (_prepare, "decode every image once, find duplicates, split; bad files go to quarantine"),
    "validate": (_validate, "check the catalogue before anything is trained on it"),
    "train": (_train, "learn the embedding from unlabelled images"),
    "export": (_export, "write the ONNX model and prove that it gives the same vectors"),
    "index": (_index, "embed every image with the ONNX model and build the search index"),
    "evaluate": (_evaluate, "score what ships beside the frozen backbone, and write the report"),
}
