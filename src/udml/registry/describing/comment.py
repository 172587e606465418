"""A challenge as Markdown, short enough for a comment on a pull request."""

from udml.registry.challenge import Challenge
from udml.registry.describing.markdown import table
from udml.text import printable


def as_comment(challenge: Challenge) -> str:
    """Verdict, table and reason of a challenge."""
    verdict = "would be promoted" if challenge.promote else "would be refused"
    against = f"champion {challenge.champion}" if challenge.champion else "the frozen backbone"
    columns = list(dict.fromkeys(column for row in challenge.table for column in row))
    rows = [[row.get(column, "") for column in columns] for row in challenge.table]
    reason = printable(challenge.reason).replace("<", "&lt;")
    return "\n\n".join(
        [
            f"### The challenger {verdict} (against {against})",
            table(columns, rows),
            f"**Why**: {reason}",
            "Per cent; effective rank in dimensions. The same test images for all.",
        ]
    )
