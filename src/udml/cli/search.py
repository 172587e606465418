"""Commands that search: `search` and `report`. They need neither torch nor DVC."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from udml import paths
from udml.cli.common import (
    Commands,
    add_to,
    add_version_argument,
    add_walk_arguments,
    at_least_one,
    files_of,
    given_path,
    output_file,
    require_images,
)
from udml.cli.mixed import add_mixed_arguments, embed_asked, is_mixed
from udml.errors import UdmlError
from udml.text import printable, source_name

if TYPE_CHECKING:
    from udml.search.embedder import EmbeddedFiles
    from udml.serving.engine.answers import Hit, Refine
    from udml.serving.engine.searcher import Searcher


def add_searching(commands: Commands) -> None:
    """Add `search` and `report`."""
    command = add_to(commands, "search", _search, "find the images most like a picture")
    _add_arguments(command)
    add_mixed_arguments(command)
    command.add_argument("--plain", action="store_true", help="order by similarity alone")
    command.add_argument("--picture", type=output_file, help="write the result as a picture, for one query")
    command.add_argument(
        "--json", action="store_true", help="print a JSON object a query; docs/search.md names its fields"
    )
    command = add_to(commands, "report", _report, "write a page of pictures and what was found for each")
    _add_arguments(command)
    command.add_argument("--out", type=output_file, default=Path("report.html"), help="default: report.html")


def _add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("paths", nargs="+", type=given_path, help="image files or folders to search with")
    add_walk_arguments(command)
    command.add_argument("-k", type=at_least_one, default=8, help="how many neighbours (default: 8)")
    command.add_argument("--all", action="store_true", help="show neighbours that are no match, too")
    add_version_argument(command)


def _searcher(options: argparse.Namespace) -> "Searcher":
    from udml.registry.chosen import choose
    from udml.serving.engine.searcher import Searcher

    chosen = choose(options.version)
    searcher = Searcher.open(chosen, paths.DATA)
    print(f"searching {chosen.described}: {len(searcher):,} images", file=sys.stderr)
    return searcher


def _search(options: argparse.Namespace) -> None:
    queries = files_of(options)
    if options.picture and len(queries) + len(options.unlike) != 1:
        raise UdmlError(f"--picture is for one query, these are {len(queries)}", "use `udml report` for many")
    searcher = _searcher(options)
    queries, embedded = embed_asked(searcher, options, queries)
    require_images(embedded)
    threshold = None if options.all or is_mixed(options) else searcher.no_match_below
    refine: Refine = "none" if options.plain else "auto"
    found = searcher.neighbours(embedded.vectors, options.k, threshold, refine)
    if options.json:
        _print_json(queries, embedded, found, searcher, threshold)
    else:
        for query, hits in zip(embedded.paths, found, strict=True):
            _print_hits(query, hits, threshold)
    if options.picture:
        _write_picture(options.picture, embedded.paths[0], found[0], searcher)
        print(f"as a picture: {options.picture}", file=sys.stderr if options.json else sys.stdout)


def _print_hits(query: Path, hits: "Sequence[Hit]", threshold: float | None) -> None:
    print(printable(query))
    if not hits and threshold is None:
        print("      no match: the collection holds no other image")
    elif not hits:
        print(f"      no match: nothing is as similar as {threshold:.4f} (--all shows the nearest)")
    for rank, hit in enumerate(hits, 1):
        label = f"  [{printable(hit.label)}]" if hit.label else ""
        print(f"{rank:4}  {hit.similarity:.4f}  {printable(hit.source)}{label}")


def _print_json(
    queries: Sequence[Path],
    embedded: "EmbeddedFiles",
    found: "Sequence[Sequence[Hit]]",
    searcher: "Searcher",
    threshold: float | None,
) -> None:
    """A line of JSON, ASCII only, for every query in the order given; unusable ones say why."""
    problems = {problem.path: problem for problem in embedded.problems}
    results = iter(found)
    version = searcher.version
    for query in queries:
        answer: dict[str, object] = {"query": source_name(str(query))}
        if problem := problems.get(query):
            answer |= {"problem": problem.reason, "detail": printable(problem.detail)}
        else:
            answer |= {"version": version.name, "model_version": version.model_version}
            answer |= {"threshold": threshold, "hits": _json_hits(next(results))}
        print(json.dumps(answer))


def _json_hits(hits: "Sequence[Hit]") -> list[dict[str, object]]:
    # an id is a string, since most readers of JSON round numbers of more than 53 bits
    return [
        {
            "rank": rank,
            "similarity": hit.similarity,
            "id": str(hit.image_id),
            "source": hit.source,
            "label": hit.label,
        }
        for rank, hit in enumerate(hits, 1)
    ]


def _write_picture(out: Path, query: Path, hits: "list[Hit]", searcher: "Searcher") -> None:
    from udml.files import atomic_path
    from udml.serving.engine.search_page import strip_jpeg

    with atomic_path(out) as temporary:
        temporary.write_bytes(strip_jpeg(query, hits, searcher))


def _report(options: argparse.Namespace) -> None:
    from udml.serving.engine.search_page import write_search_page

    queries = files_of(options)
    searcher = _searcher(options)
    embedded = searcher.embed(queries)
    require_images(embedded)
    threshold = None if options.all else searcher.no_match_below
    write_search_page(options.out, embedded, searcher, options.k, threshold)
    print(f"open {options.out.resolve().as_uri()}")
