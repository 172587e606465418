"""The report's HTML, without its content: shell, sections, tables. Arguments named `*_html` are markup."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from udml import mapview

_STYLE = Path(__file__).with_name("report.css")


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        anchor: its address inside the page.
        title: its heading; `short` is what the navigation calls it.
        intro: one or two sentences under the heading, plain text.
        body_html: everything else.
    """

    anchor: str
    short: str
    title: str
    intro: str
    body_html: str

    def html(self) -> str:
        """The section as markup."""
        intro = f'<p class="intro">{escape(self.intro)}</p>' if self.intro else ""
        heading = f'<h2 id="{self.anchor}-title">{escape(self.title)}</h2>'
        opening = f'<section id="{self.anchor}" aria-labelledby="{self.anchor}-title">'
        return f"{opening}\n{heading}\n{intro}\n{self.body_html}\n</section>"


def page(title: str, header_html: str, sections: Sequence[Section], footer_html: str) -> str:
    """A whole document: the stylesheet is inside, so that the file can be mailed or printed alone."""
    links = "".join(f'<li><a href="#{one.anchor}">{escape(one.short)}</a></li>' for one in sections)
    body = "\n".join(one.html() for one in sections)
    map_style = mapview.style() if 'class="map-view"' in body else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{_STYLE.read_text(encoding="utf-8")}{map_style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the report</a>
<header>
{header_html}
</header>
<nav aria-label="Parts of the report"><ul>{links}</ul></nav>
<main id="main">
{body}
</main>
<footer>{footer_html}</footer>
</body>
</html>
"""


def facts(rows: Iterable[tuple[str, object]], caption: str) -> str:
    """A table of names and values, as plain text."""
    cells = ((escape(name), escape(str(value))) for name, value in rows)
    body = "".join(f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in cells)
    opening = f'<div class="scroll"><table class="compact" aria-label="{escape(caption)}">'
    return f"{opening}<tbody>{body}</tbody></table></div>"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str) -> str:
    """A small table with a heading per column, as plain text; numbers stand right-aligned."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    opening = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
    return (
        f'{opening}<table class="compact"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cell(value: object) -> str:
    if isinstance(value, int | float):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"


def picture(address: str, alt: str, size_px: tuple[int, int]) -> str:
    """An image that loads when it is scrolled into view; its size is known, so nothing jumps."""
    width, height = size_px
    size = f'width="{width}" height="{height}"'
    return f'<img src="{escape(address)}" alt="{escape(alt)}" {size} loading="lazy">'


def chart_card(title: str, meaning: str, chart_html: str) -> str:
    """A chart under its title and the sentence that says how to read it."""
    caption = f"<figcaption><b>{escape(title)}</b>{escape(meaning)}</figcaption>"
    return f"<figure>{caption}{chart_html}</figure>"


def details(summary: str, body_html: str) -> str:
    """Something folded away."""
    return f"<details><summary>{escape(summary)}</summary>{body_html}</details>"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun: `1 image`, `2,640 images`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
