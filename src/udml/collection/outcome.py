"""A file that is to be added to a collection, and what came of it."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from udml.errors import UdmlError


class NoImageError(UdmlError):
    """There is no image of this id in the collection (any more)."""

    def __init__(self, what: str, hint: str, image_id: int) -> None:
        super().__init__(what, hint)
        self.image_id = image_id


def unknown_image(image_id: int) -> NoImageError:
    """What to raise where an id is of no image."""
    return NoImageError(
        f"there is no image {image_id} in the collection", "ids come from search results", image_id
    )


class GoneError(UdmlError):
    """The image is in the collection, but nobody has kept its original."""


@dataclass(frozen=True)
class NewFile:
    """A file to be added.

    Attributes:
        source: its name, such as the path inside its folder; its id follows from it.
        data: its bytes.
        label: its class, or None.
        pixels: uint8 [h, w, 3], where it was decoded already, as the collection's model wants to see it.
    """

    source: str
    data: bytes
    label: str | None = None
    pixels: np.ndarray | None = field(default=None, repr=False, compare=False)


class Status(StrEnum):
    """What came of adding a file.

    ADDED: it is in the collection now.
    PRESENT: a file of the same bytes was there already; nothing changed.
    RESTORED: a file of the same bytes had been removed; it is back under its id.
    REFUSED: it is not in the collection; the problem is told.
    """

    ADDED = "added"
    PRESENT = "present"
    RESTORED = "restored"
    REFUSED = "refused"


@dataclass(frozen=True)
class Added:
    """What came of adding one file.

    Attributes:
        source: the name it was given.
        image_id: the id of its content in the collection, or None if it was refused.
        status: what happened.
        problem: why it was refused, in words; else empty.
        name: the name it has in the collection: another one than `source` where that was taken, or the
            content was there before; empty if it was refused.
    """

    source: str
    image_id: int | None
    status: Status
    problem: str = ""
    name: str = ""


def refused(file: NewFile, problem: str) -> Added:
    """A file that is not taken, and why."""
    return Added(file.source, None, Status.REFUSED, problem)
