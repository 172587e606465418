"""Tables in Markdown whose cells can't break out of them."""

from collections.abc import Iterable, Sequence

from udml.text import printable


def row(cells: Sequence[object]) -> str:
    """A row of a table."""
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a head."""
    return "\n".join([row(columns), row(["---"] * len(columns)), *map(row, rows)])


def _cell(cell: object) -> str:
    text = printable(str(cell))
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
