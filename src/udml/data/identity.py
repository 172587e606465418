"""Who is who: an image's id follows from its name alone, so it is the same in every import."""

import hashlib


def image_id(source: str) -> int:
    """A stable id: the first 63 bits' worth of sha256 of the source path, as a non-negative int64."""
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") & (2**63 - 1)


def folder_of(source: str) -> str:
    """The folder an image lies in, by its name: `2024/may` of `2024/may/1.jpg`; "" where it names none."""
    return source.rpartition("/")[0]
