"""What a store of a collection must do: all that searching, serving and the service ask of one.

There are two: an index in FAISS with what was added to it in SQLite (`udml.collection.collection`), for one
machine; and Milvus (`udml.collection.shared`), for many services. `tests/collection/test_contract.py` runs
against both. Which version serves, and when that changes, is `udml.serving.engine.pointing`.

Shapes: n queries or images, k neighbours, d embedding length.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from udml.collection.outcome import Added, NewFile
from udml.search.columns import Kind
from udml.search.gallery import IndexInfo
from udml.search.items import Item


class Seen(Protocol):
    """The state of a collection at one moment."""

    @property
    def revision(self) -> int:
        """Number of the last change that counts in; it only grows."""
        ...


class Chosen(Protocol):
    """The images of a collection that met a filter when it was asked."""

    def __len__(self) -> int:
        """How many."""
        ...

    def spread(self, at_most: int) -> list[int]:
        """Ids spread evenly over them, in the order they were indexed and added."""
        ...

    def holds(self, image_ids: Sequence[int]) -> set[int]:
        """Those of these images that are among them."""
        ...


class CollectionStore(Protocol):
    """An open collection: one version's images, what was added to them, less what was removed.

    Many threads may use it at once. Where the store cannot be reached, every method raises
    `udml.errors.StoreLostError`, within seconds.

    Attributes:
        info: of the version's index.
    """

    info: IndexInfo

    def __len__(self) -> int:
        """Images that a search can find."""
        ...

    def refresh(self) -> Seen:
        """What searches see from now on."""
        ...

    def columns(self) -> Mapping[str, Kind]:
        """What filters may ask for, by name."""
        ...

    def choose(self, where: str) -> Chosen:
        """The images that meet a filter; see `udml.collection.filtering`.

        Raises:
            FilterError: if it is none, or does not fit the columns.
        """
        ...

    def search(self, queries: np.ndarray, k: int, among: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest images of each query, best first, what others have added among them.

        Args:
            queries: float32 [n, d], unit rows.
            k: at least 1.
            among: what `choose` gave, to search in; None for all of the collection.

        Returns:
            Cosine similarities float32 [n, min(k, images)] and image_ids int64 of the same shape.

        Raises:
            UdmlError: if the queries are not finite or of another length than the collection's vectors.
        """
        ...

    def search_refined(
        self, queries: np.ndarray, k: int, lowest: float = -np.inf, among: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `search`, in the order of neighbourhoods; images less similar than `lowest` come last."""
        ...

    def items(self, image_ids: Iterable[int]) -> dict[int, Item]:
        """What is behind ids that a search has found, by id; also if one was removed since."""
        ...

    def item(self, image_id: int) -> Item:
        """The image of this id; NoImageError if it is not in the collection (any more)."""
        ...

    def vector(self, image_id: int) -> np.ndarray:
        """The vector of an image, float32 [d]; NoImageError if it is not in the collection (any more)."""
        ...

    def vectors(self, image_ids: Sequence[int]) -> np.ndarray:
        """The vectors of images that a search has found, float32 [n, d]; zeros for one that is gone."""
        ...

    def sample(self, at_most: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Images spread evenly over the collection, in the order they were indexed and added.

        Returns:
            image_ids int64 [n], their vectors float32 [n, d], and how many images there are.
        """
        ...

    def original(self, image_id: int) -> bytes:
        """The bytes of an image's file; NoImageError without the image, GoneError without its file."""
        ...

    def add(self, files: Sequence[NewFile]) -> list[Added]:
        """Put files into the collection: durable, and found by every search, when this returns.

        A file that can't be used is refused, the others go on. The same bytes are not added twice.
        """
        ...

    def remove(self, image_ids: Sequence[int]) -> None:
        """Take images out: durable, and gone from every search, when this returns.

        Raises:
            NoImageError: if one is not in the collection; none is removed then.
        """
        ...

    def close(self) -> None:
        """Let go of files, connections and the model."""
        ...


class Groups(Protocol):
    """Which images of a collection show the same; `seen` is what its `refresh` gave before the search."""

    def firsts(self, image_ids: Iterable[int], seen: Any) -> dict[int, int]:
        """The first image of the group that each is in; an image that is like no other is its own first."""
        ...

    def members(self, firsts: Iterable[int], seen: Any) -> dict[int, int]:
        """Indexed images that are in the groups of these: first, by image_id."""
        ...
