"""Commands that search: `search` and `report`. They need neither torch nor DVC."""

import argparse
import csv
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

FORMULA = tuple(
    "=+-@\uff1d\uff0b\uff0d\uff20"
)  # the last four are the first four, as wide as others' letters


def add_searching(commands: Commands) -> None:
    """Add `search` and `report`."""
    command = add_to(commands, "search", _search, "find the images most like a picture")
    _add_arguments(command)
    add_mixed_arguments(command)
    command.add_argument("--plain", action="store_true", help="order by similarity alone")
    command.add_argument("--picture", type=output_file, help="write the result as a picture, for one query")
    command.add_argument(
        "--where",
        metavar="FILTER",
        help="find only what meets it, such as \"folder = '2024/*' and taken > 2024-05\"; see docs/search.md",
    )
    form = command.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="print a JSON object a query; docs/search.md names its fields"
    )
    form.add_argument("--csv", action="store_true", help="print a table, a row a neighbour, for spreadsheets")
    form.add_argument(
        "--paths0",
        action="store_true",
        help="print what was found by its path in the imported folder, each once, NUL behind it (xargs -0)",
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
    if options.where is not None and len(searcher.collection.choose(options.where)) == 0:
        print("no image of the collection meets the filter", file=sys.stderr)
    queries, embedded = embed_asked(searcher, options, queries)
    require_images(embedded)
    threshold = None if options.all or is_mixed(options) else searcher.no_match_below
    refine: Refine = "none" if options.plain else "auto"
    found = searcher.neighbours(embedded.vectors, options.k, threshold, refine, where=options.where)
    if options.json:
        _print_json(queries, embedded, found, searcher, threshold)
    elif options.csv:
        _print_csv(queries, embedded, found)
    elif options.paths0:
        _print_paths(found)
    else:
        for query, hits in zip(embedded.paths, found, strict=True):
            _print_hits(query, hits, threshold, options.where)
    if options.picture:
        _write_picture(options.picture, embedded.paths[0], found[0], searcher)
        for_programs = options.json or options.csv or options.paths0
        print(f"as a picture: {options.picture}", file=sys.stderr if for_programs else sys.stdout)


def _print_hits(query: Path, hits: "Sequence[Hit]", threshold: float | None, where: str | None) -> None:
    print(printable(query))
    if not hits and threshold is None:
        lacking = "the collection holds no other image" if where is None else "no image meets the filter"
        print(f"      no match: {lacking}")
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


def _print_csv(queries: Sequence[Path], embedded: "EmbeddedFiles", found: "Sequence[Sequence[Hit]]") -> None:
    """A row a neighbour, and one for every query that has none, in the order given; RFC 4180, UTF-8."""
    problems = {problem.path: problem for problem in embedded.problems}
    results = iter(found)
    table = csv.writer(sys.stdout)
    table.writerow(["query", "rank", "similarity", "id", "source", "label", "problem"])
    for query in queries:
        name = _cell(source_name(str(query)))
        if problem := problems.get(query):
            table.writerow([name, "", "", "", "", "", problem.reason])
            continue
        hits = next(results)
        for rank, hit in enumerate(hits, 1):
            known = (_cell(hit.source), _cell(hit.label or ""))
            table.writerow([name, rank, f"{hit.similarity:.6f}", hit.image_id, *known, ""])
        if not hits:
            table.writerow([name, "", "", "", "", "", "no match"])


def _cell(text: str) -> str:
    """Foreign text that no spreadsheet takes for a formula: an apostrophe before what may begin one."""
    return f"'{text}" if text.lstrip()[:1] in FORMULA or text[:1] in "\t\r\n" else text


def _print_paths(found: "Sequence[Sequence[Hit]]") -> None:
    """What was found, each once, for `xargs -0`: a path has no NUL in it, whatever else it has."""
    sources = dict.fromkeys(hit.source for hits in found for hit in hits)
    sys.stdout.flush()
    sys.stdout.buffer.write(
        b"".join(source.encode("utf-8", "backslashreplace") + b"\0" for source in sources)
    )
    sys.stdout.buffer.flush()


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
