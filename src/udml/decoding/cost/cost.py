"""The figures that files are weighed by."""

from dataclasses import dataclass

from udml.formats.reasons import too_costly


@dataclass(frozen=True)
class Cost:
    """What decoding a file takes, as far as its header tells.

    Attributes:
        width, height: px, 0 where they are not known.
        memory_bytes: at least this much is needed at once, beside the file.
        cpu_seconds: it takes about this long, where the header tells; 0 where it doesn't.
        is_plain: of a kind and size that can't take more than docs/security.md states of plain files.
    """

    width: int = 0
    height: int = 0
    memory_bytes: int = 0
    cpu_seconds: float = 0.0
    is_plain: bool = False


UNKNOWN = Cost()  # nothing is known, so it is not plain


def refuse_above(count: int, limit: int, what: str) -> None:
    """Refuse a file that has more of something than `limit`."""
    if count > limit:
        raise too_costly(f"over {limit:,} {what}")
