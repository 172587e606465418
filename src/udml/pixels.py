"""The one door to the decoder: a file's bytes in, upright 8-bit RGB pixels out, or the reason why not.

Training, embedding and searching all decode here, so a query is seen exactly as the gallery was. A file is
weighed by its header first (`udml.decoding.cost`). One that says it takes too much is refused; one that
can't take much is decoded here and now; all others are decoded in a process that can be killed, within a
budget of CPU time and memory (`udml.decoding.pool`).
"""

from pathlib import Path

from udml.decoding.budget import COMMAND, SERVICE, Budget
from udml.decoding.cost import Cost, weigh
from udml.decoding.plain import Decoded, Wish, check_size, decode_plainly
from udml.decoding.pool import decode_apart
from udml.files import read_regular
from udml.formats.reasons import Reason, Undecodable, too_costly

__all__ = [
    "COMMAND",
    "SERVICE",
    "Budget",
    "Decoded",
    "Reason",
    "Undecodable",
    "Wish",
    "decode",
    "decode_wish",
    "read_image",
]


def decode(
    data: bytes,
    short_side_px: int | None,
    min_side_px: int = 1,
    max_pixels: int = 100_000_000,
    budget: Budget = COMMAND,
) -> Decoded:
    """Decode a whole image file to upright RGB.

    The first frame of an animation is used, of several pages the first that is a picture of its own, of a
    HEIC its primary picture, of camera raw its preview; docs/files.md has the rules. Transparency is laid on
    white. 16-bit values are scaled to 8 bits, not clipped. Colour profiles are followed into sRGB; a damaged
    one counts as none. What turns the picture is applied once: EXIF, or where the format has its own, that.

    If the shorter side exceeds `short_side_px` the image is shrunk to it: JPEGs first while decoding,
    by 1/2, 1/4 or 1/8 as long as at least twice the target remains, then by antialiased bicubic
    resampling. Images are never enlarged.

    Args:
        data: the bytes of the file.
        short_side_px: largest shorter side wanted, or None for full size.
        min_side_px: smallest shorter side accepted.
        max_pixels: largest width x height accepted; checked in the header, before decoding.
        budget: what decoding may take; `docs/security.md` says what of it is checked when.

    Raises:
        Undecodable: with the reason; truncated and damaged files are never padded or half shown.
    """
    return decode_wish(data, Wish(short_side_px, min_side_px, max_pixels), budget)


def decode_wish(data: bytes, wish: Wish, budget: Budget = COMMAND) -> Decoded:
    """Decode what is wanted of a file; see `decode`.

    Raises:
        Undecodable: with the reason.
    """
    if not data:
        raise Undecodable(Reason.EMPTY, "0 bytes")
    cost = weigh(data, wish.decoded_side_px)
    if cost.width and cost.height:
        check_size((cost.width, cost.height), (0, wish.max_pixels))
    _check_cost(cost, wish, budget)
    return decode_plainly(data, wish) if cost.is_plain else decode_apart(data, wish, budget)


def read_image(
    path: Path,
    short_side_px: int | None,
    min_side_px: int = 1,
    max_pixels: int = 100_000_000,
    budget: Budget = COMMAND,
) -> Decoded:
    """Decode the file at `path`; see `decode`. The detail of an `Undecodable` names the path."""
    try:
        return decode(read_regular(path), short_side_px, min_side_px, max_pixels, budget)
    except FileNotFoundError as error:
        raise Undecodable(Reason.UNREADABLE, f"{path} does not exist") from error
    except OSError as error:
        raise Undecodable(Reason.UNREADABLE, f"{path} ({error.strerror})") from error
    except Undecodable as error:
        raise Undecodable(error.reason, f"{path} ({error.detail})") from error
    except ValueError as error:  # a pipe, which would be waited for, or a device, which has no end
        raise Undecodable(Reason.UNREADABLE, str(error)) from error


def _check_cost(cost: Cost, wish: Wish, budget: Budget) -> None:
    size = f"{cost.width} x {cost.height} px of this kind"
    memory_bytes = cost.memory_bytes + _result_bytes(cost, wish)
    if memory_bytes > budget.memory_bytes:
        needed, limit = memory_bytes / 2**20, budget.memory_bytes / 2**20
        raise too_costly(f"{size} need {needed:,.0f} MiB of memory, the limit is {limit:,.0f} MiB")
    if cost.cpu_seconds > budget.cpu_seconds:
        raise too_costly(
            f"{size} take about {cost.cpu_seconds:.2g} s, the limit is {budget.cpu_seconds:.2g} s"
        )


def _result_bytes(cost: Cost, wish: Wish) -> int:
    """Of the pixels that are given out, and of a copy that there is of them meanwhile."""
    short = max(1, min(cost.width, cost.height))
    share = min(1.0, (wish.decoded_side_px or short) / short)
    return int(2 * 3 * cost.width * cost.height * share**2)
