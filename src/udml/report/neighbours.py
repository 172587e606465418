"""Queries and what the embedding found for them, as strips of thumbnails."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from pathlib import Path

import pandas as pd

from udml.data.catalog import ImageStore
from udml.report.page import Section, picture
from udml.report.pictures import THUMBNAIL_PX, save_thumbnail


class Verdict(StrEnum):
    """Whether a neighbour is what was asked for; `open` where nobody can say."""

    HIT = "hit"
    MISS = "miss"
    COPY = "copy"  # of the query's own duplicate group: does not count
    OPEN = "open"  # no labels


# mark, word for it; the border (full, dashed, dotted) repeats what the colour says
_MARKS = {
    Verdict.HIT: ("✓", "same class"),
    Verdict.MISS: ("✗", "another class"),
    Verdict.COPY: ("=", "a copy, not counted"),
    Verdict.OPEN: ("", "no label"),
}


_WORST = {
    True: (
        "Worst misses",
        "The nearest neighbour is of another class, and the embedding was most sure of it. Often two "
        "classes that look alike, or a wrong label.",
    ),
    False: (
        "The loneliest",
        "Images with the least similar nearest neighbour: one of a kind, or something that the embedding "
        "does not see.",
    ),
}


@dataclass(frozen=True)
class Strip:
    """A query with its neighbours, best first.

    Attributes:
        query_row, rows: catalogue rows.
        similarities: cosines.
        plain: rows and similarities by similarity alone, where that is another order.
    """

    query_row: int
    rows: Sequence[int]
    similarities: Sequence[float]
    plain: tuple[Sequence[int], Sequence[float]] | None = None


def verdict(catalog: pd.DataFrame, query_row: int, row: int) -> Verdict:
    """What to say of catalogue row `row` as an answer to `query_row`."""
    group, label = catalog["group"], catalog["label"]
    if group.iloc[query_row] == group.iloc[row]:
        return Verdict.COPY
    asked, found = label.iloc[query_row], label.iloc[row]
    if pd.isna(asked) or pd.isna(found):
        return Verdict.OPEN
    return Verdict.HIT if asked == found else Verdict.MISS


def strips_html(strips: Sequence[Strip], catalog: pd.DataFrame, store: ImageStore, out: Path) -> str:
    """The strips as a list; thumbnails go to the `thumbnails` of the report's directory `out`."""
    if not strips:
        return '<p class="nothing">There is none.</p>'
    return f'<ul class="strips">{"".join(_strip(strip, catalog, store, out) for strip in strips)}</ul>'


def _strip(strip: Strip, catalog: pd.DataFrame, store: ImageStore, out: Path) -> str:
    name = _name(catalog, strip.query_row)
    asked = _image(strip.query_row, f"Query: {name}", store, out)
    caption = f'<span class="caption"><b>Query</b> <span class="name">{escape(name)}</span></span>'

    def found(rows: Sequence[int], similarities: Sequence[float], how: str) -> str:
        items = [
            _neighbour(rank, row, similarity, verdict(catalog, strip.query_row, row), catalog, store, out)
            for rank, (row, similarity) in enumerate(zip(rows, similarities, strict=True), 1)
        ]
        label = escape(f"Neighbours of {name}, {how}")
        return f'<ol class="found" tabindex="0" aria-label="{label}">{"".join(items)}</ol>'

    orders = found(strip.rows, strip.similarities, "nearest first" if strip.plain is None else "as it ships")
    if strip.plain is not None:
        how = "by similarity alone"
        orders += f'<p class="note">{how.capitalize()}:</p>{found(*strip.plain, how)}'
    return (
        f'<li class="strip"><div class="asked">{asked}{caption}</div><div class="orders">{orders}</div></li>'
    )


def _neighbour(
    rank: int, row: int, similarity: float, said: Verdict, catalog: pd.DataFrame, store: ImageStore, out: Path
) -> str:
    mark, word = _MARKS[said]
    name = _name(catalog, row)
    image = _image(row, f"Neighbour {rank}, {word}: {name}", store, out)
    sign = f'<span class="mark" aria-hidden="true">{mark}</span> ' if mark else ""
    style = "open" if said in (Verdict.COPY, Verdict.OPEN) else said.value
    title = escape(f"{catalog['source'].iloc[row]} ({word})")
    caption = (
        f'<span class="caption">{sign}<b>{similarity:.2f}</b><span class="name">{escape(name)}</span></span>'
    )
    return f'<li class="{style}" title="{title}">{image}{caption}</li>'


def _image(row: int, alt: str, store: ImageStore, out: Path) -> str:
    return picture(
        f"thumbnails/{save_thumbnail(store, row, out / 'thumbnails')}", alt, (THUMBNAIL_PX, THUMBNAIL_PX)
    )


def _name(catalog: pd.DataFrame, row: int) -> str:
    """The label, or the file's name where there is none."""
    label = catalog["label"].iloc[row]
    return str(catalog["source"].iloc[row]).rsplit("/", 1)[-1] if pd.isna(label) else str(label)


def key_html(labelled: bool) -> str:
    """What the borders mean."""
    items = [("hit", "✓ full border: same class"), ("miss", "✗ dashed: another class")] if labelled else []
    items.append(("open", "dotted: no label, or = a copy of the query (not counted)"))
    return (
        '<ul class="key">'
        + "".join(f'<li class="{style}"><i></i>{text}</li>' for style, text in items)
        + "</ul>"
    )


def queries_section(
    mixed: Sequence[Strip],
    worst: Sequence[Strip],
    labelled: bool,
    catalog: pd.DataFrame,
    store: ImageStore,
    out: Path,
) -> Section:
    """Some queries as they come, then the ones worth a closer look.

    Args:
        mixed: queries drawn at random.
        worst: with labels, queries whose nearest neighbour is of another class, the most similar
            first; without, queries whose nearest neighbour is the least similar.
        labelled: whether there are labels.
        catalog: the whole catalogue.
        store: pixels of all catalogue rows.
        out: the report's directory; thumbnails go to its `thumbnails`.
    """
    title, meaning = _WORST[labelled]
    body = (
        key_html(labelled)
        + "<h3>Drawn at random</h3>"
        + strips_html(mixed, catalog, store, out)
        + f'<h3>{title}</h3><p class="intro">{meaning}</p>'
        + strips_html(worst, catalog, store, out)
    )
    intro = "Left a query, beside it what the trained embedding finds, best first, with cosine similarity."
    if any(strip.plain for strip in [*mixed, *worst]):
        intro += (
            " Where search by neighbourhoods changes the order, that by similarity alone stands below it."
        )
    return Section("queries", "Queries", "Queries and their neighbours", intro, body)
