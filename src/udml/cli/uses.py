"""Commands that use a model otherwise than by searching: `embed` and `monitor`. No torch, no DVC."""

import argparse
import sys
from pathlib import Path

from udml.cli.common import (
    Commands,
    add_to,
    add_version_argument,
    add_walk_arguments,
    files_of,
    given_path,
    name_left_out,
    output_file,
    require_images,
    walk_rules,
)


def add_uses(commands: Commands) -> None:
    """Add `embed` and `monitor`."""
    _add_embed(commands)
    _add_monitor(commands)


def _add_embed(commands: Commands) -> None:
    command = add_to(commands, "embed", _embed, "turn pictures into vectors, with ONNX Runtime")
    command.add_argument("paths", nargs="+", type=given_path, help="image files or folders")
    add_walk_arguments(command)
    add_version_argument(command)
    command.add_argument(
        "--out",
        type=output_file,
        required=True,
        help="Parquet file: path, embedding; or a .npy file, the paths in a .json file beside it",
    )


def _embed(options: argparse.Namespace) -> None:
    from udml.registry.chosen import choose
    from udml.search.embedder import Embedder, embed_files
    from udml.serving.engine.vector_file import require_writable, write_vectors

    require_writable(options.out)
    chosen = choose(options.version)
    files = files_of(options)
    embedder = Embedder(chosen.model)
    print(f"embedding with {chosen.described}", file=sys.stderr)
    embedded = embed_files(embedder, files)
    require_images(embedded)
    print(write_vectors(options.out, embedded, embedder.card))


def _add_monitor(commands: Commands) -> None:
    command = add_to(commands, "monitor", _monitor, "say whether new images drift from those the model knows")
    command.add_argument(
        "paths",
        nargs="*",
        type=given_path,
        help="new image files or folders (default: what was imported since)",
    )
    add_walk_arguments(command)
    add_version_argument(command)
    command.add_argument(
        "--out",
        type=output_file,
        default=Path("drift.html"),
        help="page; numbers go to .json (default: drift.html)",
    )
    command.epilog = "exit status: 0 no drift, 3 drift, 4 too few images for a verdict, 1 an error"


def _monitor(options: argparse.Namespace) -> int:
    from udml.config import Monitor
    from udml.registry.chosen import choose

    chosen = choose(options.version)
    chosen.settings(Monitor, "monitor")  # wrong ones are said before what follows is loaded
    from udml.monitor.drift import Verdict
    from udml.monitor.monitor import monitor_workspace
    from udml.monitor.report import summary

    print(f"comparing with {chosen.described}", file=sys.stderr)
    finding = monitor_workspace(options.paths, chosen.name, options.out, walk_rules(options))
    name_left_out(finding.problems)
    print(f"{finding.drift.verdict}: {summary(finding.drift)}")
    print(f"open {options.out.resolve().as_uri()}")
    return {Verdict.NO_DRIFT: 0, Verdict.DRIFT: 3, Verdict.TOO_FEW: 4}[finding.drift.verdict]
