"""What a stage wants done, item by item: the one seam between the stages and whatever does the work.

Everything that is made is a file, which an item names. So an item that is done stays done, whoever made it
and wherever; what ran elsewhere is told from what ran here by nothing; and whoever hands out the work holds
no results, however many there are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from udml.progress import say_going_on

Tool = TypeVar("Tool")
Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)
Count = Callable[[int], object]  # told how many more images (or what else an item holds) are done


@dataclass(frozen=True)
class Place:
    """What one worker may use: so many cores, and a GPU of its own or none."""

    cores: int
    gpu: bool = False


@dataclass(frozen=True)
class Work(Generic[Tool, Item]):
    """One kind of work. Its functions are named functions of a module, as they are sent to other processes.

    Attributes:
        description: of the progress bar.
        open: opens, once a worker, what all its items need: a model, an index.
        do: makes the files of one item, each whole or not at all, and counts as it goes on.
        is_done: whether the files of an item are there.
        size: how many images an item holds.
        whole_node: whether a worker uses all cores of its machine by itself; otherwise there is one a core.
        relief: what helps where workers are killed for want of memory.
        here: what this process has opened already; it is not sent anywhere.
    """

    description: str
    open: Callable[[Place], Tool]
    do: Callable[[Tool, Item, Count], None]
    is_done: Callable[[Item], bool]
    size: Callable[[Item], int]
    whole_node: bool = False
    relief: str = "free memory"
    here: Tool | None = None


class Items(Protocol[Item_co]):
    """A list, or something that makes its items as they are asked for."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, place: int, /) -> Item_co:
        """The item at a place, 0 or more."""
        ...


Run = Callable[[Work[Any, Any], Items[Any]], None]  # does every item that is not done


def left_to_do(work: Work[Any, Item], items: Items[Item]) -> tuple[list[int], int, int]:
    """Places of the items that are not done, how many images are, and how many there are; says the former."""
    pending, done, total = [], 0, 0
    for place in range(len(items)):
        item = items[place]
        total += work.size(item)
        if work.is_done(item):
            done += work.size(item)
        else:
            pending.append(place)
    say_going_on(done, total, "image")
    return pending, done, total
