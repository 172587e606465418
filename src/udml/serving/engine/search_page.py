"""A page of queries and what was found for each: one HTML file that holds its own pictures."""

import base64
from html import escape
from pathlib import Path

from udml.files import atomic_path
from udml.progress import progress
from udml.report.page import Section, counted, page
from udml.search.embedder import EmbeddedFiles
from udml.serving.engine.answers import Hit
from udml.serving.engine.pictures import result_sheet, to_jpeg
from udml.serving.engine.searcher import Searcher
from udml.text import printable

_SIDE_PX = 160


def write_search_page(
    out: Path, embedded: EmbeddedFiles, searcher: Searcher, k: int, threshold: float | None
) -> None:
    """Write a strip of pictures per query to `out`, and a list of the files that could not be used.

    Args:
        out: the HTML file, replaced atomically.
        embedded: the queries.
        searcher: an open model and index.
        k: neighbours per query.
        threshold: the lowest similarity that counts, or None.
    """
    found = searcher.neighbours(embedded.vectors, k, threshold) if embedded.paths else []
    pairs = progress(list(zip(embedded.paths, found, strict=True)), "pictures", unit="query")
    strips = "\n".join(_strip(query, hits, searcher) for query, hits in pairs)
    sections = [Section("queries", "Queries", "Queries and their neighbours", "Nearest first.", strips)]
    if embedded.problems:
        rows = "".join(
            f"<li>{escape(printable(p.path))}: {escape(p.reason)} ({escape(printable(p.detail))})</li>"
            for p in embedded.problems
        )
        sections.append(Section("left-out", "Left out", "Files left out", "", f"<ul>{rows}</ul>"))
    card = searcher.embedder.card
    header = f"<h1>{counted(len(embedded.paths), 'query', 'queries')}</h1>"
    footer = f"Model {card.model_version}, {counted(len(searcher), 'image')} searched"
    with atomic_path(out) as temporary:
        temporary.write_text(page("Search results", header, sections, footer), encoding="utf-8")


def strip_jpeg(query: Path, hits: list[Hit], searcher: Searcher) -> bytes:
    """A query and its neighbours side by side, each with its rank, similarity and name, as a JPEG."""
    neighbours = [searcher.picture(hit.image_id, 2 * _SIDE_PX) for hit in hits]
    captions = [("query" if hits else "query: no match", printable(query.name))]
    captions += [(f"{n}.  {hit.similarity:.4f}", printable(hit.source)) for n, hit in enumerate(hits, 1)]
    return to_jpeg(result_sheet(query.read_bytes(), neighbours, _SIDE_PX, captions))


def _strip(query: Path, hits: list[Hit], searcher: Searcher) -> str:
    address = "data:image/jpeg;base64," + base64.b64encode(strip_jpeg(query, hits, searcher)).decode()
    alt = f"{printable(query.name)} and its {len(hits)} nearest images"
    if not hits:
        alt = f"{printable(query.name)}, for which there is no match"
    lines = "".join(f"<li>{hit.similarity:.3f} {escape(printable(hit.source))}</li>" for hit in hits)
    return (
        f"<figure><figcaption><b>{escape(printable(query))}</b>{'' if hits else ': no match'}</figcaption>"
        f'<div class="scroll"><img src="{address}" alt="{escape(alt)}" loading="lazy"></div>'
        f"<details><summary>Similarities</summary><ol>{lines}</ol></details></figure>"
    )
