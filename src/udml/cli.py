"""The command `udml`: one thin command per pipeline stage and per use.

Heavy imports live inside the commands, so that `udml --help` answers at once.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from udml import __version__, paths
from udml.errors import UdmlError

if TYPE_CHECKING:
    from udml.retrieval.embedder import EmbeddedFiles
    from udml.serving.engine import Searcher

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
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
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        print(f"udml: no room to write: {error}\n  -> free some space, then run it again", file=sys.stderr)
        return 1
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
    _add_models(commands)
    _add(commands, "retrain", _retrain, "train on what is new, and promote the result if it is better")
    return parser


def _add(commands: Commands, name: str, run: Command, help_text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(run=run)
    return command


# --- data and settings ----------------------------------------------------------------------------


def _add_data(commands: Commands) -> None:
    data = commands.add_parser("data", help="bring images in")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    command = _add(actions, "import", _import, "copy images into data/, as shards that DVC tracks")
    command.add_argument(
        "source", help="a folder, a CSV or Parquet manifest, or `places`, the built-in sample"
    )
    command.add_argument("--layout", help="how the folder is laid out (default: detected)")
    _add(actions, "ensure", _ensure, "have some data: what is here, else from the DVC remote, else `places`")


def _import(options: argparse.Namespace) -> None:
    from udml.data.importing import import_data

    sample = options.source == "places" and options.layout in (None, "places")
    source = None if sample else Path(options.source)
    summary = import_data(source, "places" if sample else options.layout, paths.DATA)
    print("\n".join(summary.lines()))


def _ensure(options: argparse.Namespace) -> None:
    from udml.data.importing import ensure_data

    print(ensure_data(paths.DATA))


def _add_preset(commands: Commands) -> None:
    command = _add(commands, "preset", _preset, "print complete settings: for a laptop, or the paper's own")
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


# --- uses -----------------------------------------------------------------------------------------


def _add_embed(commands: Commands) -> None:
    command = _add(commands, "embed", _embed, "turn pictures into vectors, with ONNX Runtime")
    command.add_argument("paths", nargs="+", type=Path, help="image files or folders")
    command.add_argument("--out", type=Path, required=True, help="Parquet file: path, embedding")


def _embed(options: argparse.Namespace) -> None:
    import pyarrow as pa

    from udml.data.catalog import write_table
    from udml.retrieval.embedder import Embedder, embed_files

    embedder = Embedder(paths.MODEL)
    embedded = embed_files(embedder, _image_files(options.paths))
    _name_problems(embedded)
    vectors = pa.FixedSizeListArray.from_arrays(embedded.vectors.ravel(), embedder.card.embedding_dim)
    table = pa.table({"path": [str(path) for path in embedded.paths], "embedding": vectors})
    write_table(options.out, table.replace_schema_metadata(embedder.card.to_metadata()))
    print(f"wrote {len(embedded.paths)} vectors of {embedder.card.embedding_dim} numbers to {options.out}")


def _add_search(commands: Commands) -> None:
    command = _add(commands, "search", _search, "find the images most like a picture")
    _add_search_arguments(command)
    command.add_argument("--picture", type=Path, help="write the result as a picture, for one query")


def _add_search_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("paths", nargs="+", type=Path, help="image files or folders to search with")
    command.add_argument("-k", type=_at_least_one, default=8, help="how many neighbours (default: 8)")
    command.add_argument(
        "--version", metavar="NAME", help="search with a registered version: champion, v1, v2, ..."
    )


def _searcher(options: argparse.Namespace) -> "Searcher":
    from udml.registry.store import version_directory
    from udml.serving.engine import open_searcher, open_version

    if options.version:
        return open_version(version_directory(paths.MODELS, options.version), paths.DATA)
    return open_searcher(paths.MODEL, paths.INDEXED, paths.DATA)


def _search(options: argparse.Namespace) -> None:
    from udml.files import atomic_path
    from udml.serving.engine import result_sheet, to_jpeg

    queries = _image_files(options.paths)
    if options.picture and len(queries) != 1:
        raise UdmlError(f"--picture is for one query, these are {len(queries)}", "use `udml report` for many")
    searcher = _searcher(options)
    embedded = searcher.embed(queries)
    _name_problems(embedded)
    for query, hits in zip(embedded.paths, searcher.neighbours(embedded.vectors, options.k), strict=True):
        print(query)
        for rank, hit in enumerate(hits, 1):
            print(f"{rank:4}  {hit.similarity:.4f}  {hit.source}" + (f"  [{hit.label}]" if hit.label else ""))
        if options.picture:
            with atomic_path(options.picture) as temporary:
                temporary.write_bytes(to_jpeg(result_sheet(query, hits, searcher)))
            print(f"as a picture: {options.picture}")


def _add_report(commands: Commands) -> None:
    command = _add(commands, "report", _report, "write a page of pictures and what was found for each")
    _add_search_arguments(command)
    command.add_argument("--out", type=Path, default=Path("report.html"), help="default: report.html")


def _report(options: argparse.Namespace) -> None:
    from udml.serving.search_page import write_search_page

    searcher = _searcher(options)
    embedded = searcher.embed(_image_files(options.paths))
    _name_problems(embedded)
    write_search_page(options.out, embedded, searcher, options.k)
    print(f"open {options.out.resolve().as_uri()}")


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _image_files(given: Sequence[Path]) -> list[Path]:
    """Files as they are; of folders, every file below that is not hidden, sorted."""
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            below = (p.relative_to(path) for p in path.rglob("*") if p.is_file())
            found += [path / p for p in sorted(below) if not any(part.startswith(".") for part in p.parts)]
        elif path.exists():
            found.append(path)
        else:
            raise UdmlError(f"no such file or folder: {path}", "check the path")
    if not found:
        raise UdmlError(f"no files in {', '.join(map(str, given))}", "name a folder that holds images")
    return found


def _name_problems(embedded: "EmbeddedFiles") -> None:
    """Say which files were left out, and why.

    Raises:
        UdmlError: if that leaves none.
    """
    for problem in embedded.problems:
        print(f"left out {problem.path}: {problem.reason} ({problem.detail})", file=sys.stderr)
    if not embedded.paths:
        raise UdmlError("none of these files is a usable image", "name pictures, or a folder of them")


# --- versions -------------------------------------------------------------------------------------


def _add_models(commands: Commands) -> None:
    models = commands.add_parser("models", help="keep versions of what serves; promote one, or go back")
    actions = models.add_subparsers(required=True, metavar="ACTION", dest="action")
    _add(actions, "register", _models, "keep the workspace's model, index and figures as a version")
    _add(actions, "challenge", _models, "say whether the workspace's model would be promoted, and why")
    _add(actions, "list", _models, "the versions; * marks the champion")
    command = _add(actions, "show", _models, "what a version is, and its files")
    command.add_argument("name", help="v1, v2, ... or champion")
    command = _add(actions, "diff", _models, "settings, figures and neighbours that two versions don't share")
    command.add_argument("before", help="v1, v2, ... or champion")
    command.add_argument("after", help="v1, v2, ... or champion")
    command = _add(actions, "promote", _models, "make a version the champion, all of it at once")
    command.add_argument("name", help="v1, v2, ...")
    command.add_argument("--reason", default="", help="kept in the log")
    command = _add(actions, "rollback", _models, "make the last champion the champion again")
    command.add_argument("--reason", default="", help="kept in the log")
    command = _add(actions, "verify", _models, "compare versions with what was registered")
    command.add_argument("names", nargs="*", help="v1, v2, ... or champion (default: all)")
    _add(actions, "log", _models, "what was registered, promoted and rolled back, and why")


def _models(options: argparse.Namespace) -> None:
    from udml.registry import commands

    match options.action:
        case "register":
            commands.register(paths.MODELS)
        case "challenge":
            commands.challenge(paths.MODELS)
        case "list":
            commands.show_list(paths.MODELS)
        case "show":
            commands.show(paths.MODELS, options.name)
        case "diff":
            commands.diff(paths.MODELS, options.before, options.after)
        case "promote":
            commands.promote(paths.MODELS, options.name, options.reason)
        case "rollback":
            commands.rollback(paths.MODELS, options.reason)
        case "verify":
            commands.verify(paths.MODELS, options.names)
        case "log":
            commands.show_log(paths.MODELS)


def _retrain(options: argparse.Namespace) -> None:
    from udml.processes import run_command
    from udml.registry.changes import check_for_news

    # with a Prefect server at hand, a run that finds nothing new is recorded there too
    if "PREFECT_API_URL" not in os.environ and (said := check_for_news(Path())):
        print(said)
        return
    try:
        run_command([sys.executable, "-m", "flows.retrain"], lambda line: print(line, flush=True))
    except RuntimeError:  # its lines were printed as they came
        raise UdmlError("nothing was retrained; why is said above", "see docs/retraining.md") from None
