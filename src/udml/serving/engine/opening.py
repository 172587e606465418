"""What a model searches: a collection, opened for vectors of this model."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from udml.collection.additions import Additions
from udml.collection.collection import Collection, Embed
from udml.collection.contract import CollectionStore, Groups
from udml.collection.copies import CopyGroups
from udml.model_card import ModelCard
from udml.search.gallery import open_index
from udml.search.items import ITEMS_FILE, Items

OpenCollection = Callable[[ModelCard, Embed], tuple[CollectionStore, Groups]]


def on_this_machine(index: Path, data: Path, additions: Path | None) -> OpenCollection:
    """Opens an index in FAISS with what was added to it in SQLite.

    Args:
        index: the directory.
        data: the imported data.
        additions: the file of additions; None for a collection that can't be changed.
    """
    return partial(_open, index, data, additions)


def _open(
    index: Path, data: Path, additions: Path | None, card: ModelCard, embed: Embed
) -> tuple[CollectionStore, Groups]:
    added = None if additions is None else Additions(additions)
    collection = Collection(open_index(index, card), Items(index / ITEMS_FILE), added, data, embed)
    return collection, CopyGroups(collection)
