"""Commands that use a model: embed, search, report, monitor. They need neither torch nor DVC."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from udml import paths
from udml.cli.common import Commands, add_to, add_walk_arguments, at_least_one, output_file, walk_rules
from udml.cli.mixed import add_mixed_arguments, embed_asked, is_mixed
from udml.errors import UdmlError
from udml.text import printable

if TYPE_CHECKING:
    from udml.search.embedder import EmbeddedFiles, FileProblem
    from udml.serving.engine.answers import Refine
    from udml.serving.engine.searcher import Searcher


def add_uses(commands: Commands) -> None:
    """Add `embed`, `search`, `report` and `monitor`."""
    _add_embed(commands)
    _add_search(commands)
    _add_report(commands)
    _add_monitor(commands)


def _add_embed(commands: Commands) -> None:
    command = add_to(commands, "embed", _embed, "turn pictures into vectors, with ONNX Runtime")
    command.add_argument("paths", nargs="+", type=_path, help="image files or folders")
    add_walk_arguments(command)
    command.add_argument("--out", type=output_file, required=True, help="Parquet file: path, embedding")


def _embed(options: argparse.Namespace) -> None:
    import pyarrow as pa

    from udml.data.catalog import write_table
    from udml.search.embedder import Embedder, embed_files

    embedder = Embedder(paths.MODEL)
    embedded = embed_files(embedder, _files(options))
    _name_problems(embedded)
    vectors = pa.FixedSizeListArray.from_arrays(embedded.vectors.ravel(), embedder.card.embedding_dim)
    table = pa.table({"path": [printable(path) for path in embedded.paths], "embedding": vectors})
    write_table(options.out, table.replace_schema_metadata(embedder.card.to_metadata()))
    print(f"wrote {len(embedded.paths)} vectors of {embedder.card.embedding_dim} numbers to {options.out}")


def _add_search(commands: Commands) -> None:
    command = add_to(commands, "search", _search, "find the images most like a picture")
    _add_search_arguments(command)
    add_mixed_arguments(command)
    command.add_argument("--plain", action="store_true", help="order by similarity alone")
    command.add_argument("--picture", type=output_file, help="write the result as a picture, for one query")


def _add_search_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("paths", nargs="+", type=_path, help="image files or folders to search with")
    add_walk_arguments(command)
    command.add_argument("-k", type=at_least_one, default=8, help="how many neighbours (default: 8)")
    command.add_argument("--all", action="store_true", help="show neighbours that are no match, too")
    _add_version_argument(command)


def _add_version_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("--version", metavar="NAME", help="use a registered version: champion, v1, v2, ...")


def _searcher(options: argparse.Namespace) -> "Searcher":
    from udml.registry.store import version_directory
    from udml.serving.engine.searcher import Searcher, open_workspace

    if options.version:
        return Searcher.open(version_directory(paths.MODELS, options.version))
    return open_workspace()


def _search(options: argparse.Namespace) -> None:
    from udml.files import atomic_path
    from udml.serving.engine.search_page import strip_jpeg

    queries = _files(options)
    if options.picture and len(queries) + len(options.unlike) != 1:
        raise UdmlError(f"--picture is for one query, these are {len(queries)}", "use `udml report` for many")
    searcher = _searcher(options)
    queries, embedded = embed_asked(searcher, options, queries)
    _name_problems(embedded)
    threshold = None if options.all or is_mixed(options) else searcher.no_match_below
    refine: Refine = "none" if options.plain else "auto"
    found = searcher.neighbours(embedded.vectors, options.k, threshold, refine)
    for query, hits in zip(embedded.paths, found, strict=True):
        print(printable(query))
        if not hits:
            print(f"      no match: nothing is as similar as {threshold:.4f} (--all shows the nearest)")
        for rank, hit in enumerate(hits, 1):
            print(f"{rank:4}  {hit.similarity:.4f}  {printable(hit.source)}" + _label(hit.label))
        if options.picture:
            with atomic_path(options.picture) as temporary:
                temporary.write_bytes(strip_jpeg(query, hits, searcher))
            print(f"as a picture: {options.picture}")


def _add_report(commands: Commands) -> None:
    command = add_to(commands, "report", _report, "write a page of pictures and what was found for each")
    _add_search_arguments(command)
    command.add_argument("--out", type=output_file, default=Path("report.html"), help="default: report.html")


def _report(options: argparse.Namespace) -> None:
    from udml.serving.engine.search_page import write_search_page

    searcher = _searcher(options)
    embedded = searcher.embed(_files(options))
    _name_problems(embedded)
    threshold = None if options.all else searcher.no_match_below
    write_search_page(options.out, embedded, searcher, options.k, threshold)
    print(f"open {options.out.resolve().as_uri()}")


def _add_monitor(commands: Commands) -> None:
    command = add_to(commands, "monitor", _monitor, "say whether new images drift from those the model knows")
    command.add_argument(
        "paths", nargs="*", type=_path, help="new image files or folders (default: what was imported since)"
    )
    add_walk_arguments(command)
    _add_version_argument(command)
    command.add_argument(
        "--out",
        type=output_file,
        default=Path("drift.html"),
        help="page; numbers go to .json (default: drift.html)",
    )
    command.epilog = "exit status: 0 no drift, 3 drift, 4 too few images for a verdict, 1 an error"


def _monitor(options: argparse.Namespace) -> int:
    from udml.monitor.drift import Verdict
    from udml.monitor.monitor import monitor_workspace
    from udml.monitor.report import summary

    finding = monitor_workspace(options.paths, options.version, options.out, walk_rules(options))
    _name_left_out(finding.problems)
    print(f"{finding.drift.verdict}: {summary(finding.drift)}")
    print(f"open {options.out.resolve().as_uri()}")
    return {Verdict.NO_DRIFT: 0, Verdict.DRIFT: 3, Verdict.TOO_FEW: 4}[finding.drift.verdict]


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("an empty name is neither a file nor a folder")
    return Path(text)


def _files(options: argparse.Namespace) -> list[Path]:
    from udml.walking.given import given_files

    return [found.path for found in given_files(options.paths, walk_rules(options))]


def _label(label: str | None) -> str:
    return f"  [{printable(label)}]" if label else ""


def _name_problems(embedded: "EmbeddedFiles") -> None:
    """Say which files were left out, and why.

    Raises:
        UdmlError: if that leaves none.
    """
    _name_left_out(embedded.problems)
    if not embedded.paths:
        raise UdmlError("none of these files is a usable image", "name pictures, or a folder of them")


def _name_left_out(problems: "Sequence[FileProblem]") -> None:
    for problem in problems:
        print(
            f"left out {printable(problem.path)}: {problem.reason} ({printable(problem.detail)})",
            file=sys.stderr,
        )
