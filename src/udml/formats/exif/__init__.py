"""What a camera wrote beside a picture, read from the file's header: when it was taken, and by what camera.

Nothing is decoded for it and nothing else is read: not where it was taken (GPS), nor whose it is.
"""

from udml.formats.exif.block import block_of
from udml.formats.exif.facts import NOTHING, Facts, facts_in

__all__ = ["NOTHING", "Facts", "facts_of"]


def facts_of(data: bytes) -> Facts:
    """When a picture was taken and by what camera, as far as its file says so.

    Takes microseconds: parts of the file are looked at by their heads, at most some thousand of them. Damage,
    nonsense and what is not there are nothing; no file is worse for it.

    Args:
        data: any bytes.
    """
    try:
        return facts_in(block_of(data))
    except (ValueError, IndexError, ArithmeticError):  # what struct raises is none of these: it is not asked
        return NOTHING
