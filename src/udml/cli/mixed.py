"""Searching with several pictures as one query, or with a part of one."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from udml.cli.common import given_path, walk_rules
from udml.errors import UdmlError

if TYPE_CHECKING:
    from udml.cropping import Crop
    from udml.search.embedder import EmbeddedFiles
    from udml.serving.engine.searcher import Searcher


def add_mixed_arguments(command: argparse.ArgumentParser) -> None:
    """Add what makes one query of several pictures, or of a part of one."""
    command.add_argument(
        "--together", action="store_true", help="one answer: what is like all of the pictures together"
    )
    command.add_argument(
        "--not", dest="unlike", nargs="+", action="extend", default=[], type=given_path, metavar="PATH",
        help="pictures to stay away from; there is one answer then, as with --together",
    )  # fmt: skip
    command.add_argument(
        "--crop", type=_crop, metavar="X,Y,W,H", help="search with a part of the picture, in fractions of it"
    )


def is_mixed(options: argparse.Namespace) -> bool:
    """Whether several pictures are one query, for which "no match" is not calibrated."""
    return bool(options.together or options.unlike)


def embed_asked(
    searcher: "Searcher", options: argparse.Namespace, queries: list[Path]
) -> "tuple[list[Path], EmbeddedFiles]":
    """What is asked with, and what came of it: every file by itself, or all of them as one query.

    Raises:
        UdmlError: if a picture of several is not usable, nothing is left, or a part is wanted of many.
    """
    from udml.search.embedder import EmbeddedFiles
    from udml.serving.engine.queries import together
    from udml.walking.given import given_files

    if options.crop and len(queries) != 1:
        raise UdmlError(f"--crop is for one picture, these are {len(queries)}", "name one beside --not")
    away = given_files(options.unlike, walk_rules(options)) if options.unlike else []
    unlike = [found.path for found in away]
    embedded = searcher.embed([*queries, *unlike])
    if options.crop and queries[0] in embedded.paths:
        pixels = searcher.decode(queries[0].read_bytes(), crop=options.crop)
        embedded.vectors[0] = searcher.embed_images([pixels])[0]
    if not is_mixed(options):
        return queries, embedded
    vector = together(embedded, len(queries))
    named = [Path(_described(queries, unlike))] if unlike or len(queries) > 1 else queries
    return named, EmbeddedFiles(vector[None], named, [], [None])


def _described(like: list[Path], unlike: list[Path]) -> str:
    away = ", not " + ", ".join(map(str, unlike)) if unlike else ""
    return " + ".join(map(str, like)) + away


def _crop(text: str) -> "Crop":
    from udml.cropping import Crop

    try:
        return Crop.parse(text)
    except UdmlError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
