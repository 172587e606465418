"""Saying on stderr which files were left out: the first few by name, all of them by number."""

import sys
from collections import Counter
from pathlib import Path

from udml.text import printable

SHOWN = 10


def say_left_out(told: Counter[str], name: str | Path, why: str) -> None:
    """Count a file that was left out, and name it while they are few.

    Args:
        told: how many were left out, by reason; begins empty.
        name: of the file.
        why: the reason in words; what is particular to this file behind a colon.
    """
    told[why.partition(":")[0]] += 1
    if told.total() <= SHOWN:
        print(f"left out {printable(name)}: {printable(why)}", file=sys.stderr)


def say_how_many(told: Counter[str]) -> None:
    """How many there were in all, by reason, where not all were named."""
    if told.total() > SHOWN:
        reasons = "; ".join(f"{count:,} because {printable(why)}" for why, count in told.most_common())
        print(f"left out {told.total():,} files in all: {reasons}", file=sys.stderr)
